-- One approval. :id text
select {include approval_columns}
from approval a
join step s on s.task_id = a.task_id and s.no = a.no
join task t on t.id = a.task_id
join template p on p.id = t.template_id
left join wait w on w.task_id = a.task_id and w.no = a.no and w.call = a.call and w.kind = 'approval'
where a.id = :id
