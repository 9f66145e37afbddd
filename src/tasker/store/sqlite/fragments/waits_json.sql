-- What the waiting step {step} waits for, as JSON text.
(select json_group_array(
     json_object('kind', w.kind, 'name', w.name, 'key', nullif(w.key, ''), 'approval', a.id, 'assignees', json(a.assignees))
 )
 from wait w
 left join approval a on w.kind = 'approval' and a.task_id = w.task_id and a.no = w.no and a.call = w.call
 where w.task_id = {step}.task_id and w.no = {step}.no)
