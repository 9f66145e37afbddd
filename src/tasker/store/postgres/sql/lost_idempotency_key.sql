-- The key of a task that no longer holds it. :task_id uuid
select p.namespace, t.idempotency_key as key, t.template_id, t.context
from task t
join template p on p.id = t.template_id
where t.id = :task_id::uuid and t.idempotency_key is not null
  and not exists (
      select from task_key k
      where k.namespace = p.namespace and k.key = t.idempotency_key and k.task_id = t.id
  )
