-- What the waiting step {step} waits for, as JSON text.
(select json_group_array(json_object('kind', w.kind, 'name', w.name, 'key', nullif(w.key, '')))
 from wait w where w.task_id = {step}.task_id and w.no = {step}.no)
