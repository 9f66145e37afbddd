-- What the waiting step {step} waits for, as JSON text.
(select json_agg(json_build_object('kind', w.kind, 'name', w.name, 'key', nullif(w.key, '')) order by w.kind, w.name, w.key)
 from wait w where w.task_id = {step}.task_id and w.no = {step}.no)::text
