-- What the waiting step {step} waits for, as JSON text.
(select json_agg(
     json_build_object('kind', w.kind, 'name', w.name, 'key', nullif(w.key, ''), 'approval', a.id, 'assignees', a.assignees)
     order by w.kind, w.name, w.key
 )
 from wait w
 left join approval a on w.kind = 'approval' and a.task_id = w.task_id and a.no = w.no and a.call = w.call
 where w.task_id = {step}.task_id and w.no = {step}.no)::text
