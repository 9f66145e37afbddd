-- Another open task that holds the key of a task. :task_id text
select k.key, k.task_id as task_id
from task t
join template p on p.id = t.template_id
join task_key k on k.namespace = p.namespace and k.key = t.idempotency_key
join task h on h.id = k.task_id
where t.id = :task_id and k.task_id <> t.id and h.state = {OPEN}
