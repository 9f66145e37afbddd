-- The step that a token completes, which is locked already. :digest, :name text
select s.task_id::text as task_id, s.no, s.state, w.task_id is not null as waits, d.name is not null as used
from completion c
join step s on s.task_id = c.task_id and s.no = c.no
left join wait w on w.task_id = c.task_id and w.no = c.no and w.kind = 'external'
left join durable_call d on d.task_id = c.task_id and d.no = c.no and d.name = :name
where c.digest = :digest
