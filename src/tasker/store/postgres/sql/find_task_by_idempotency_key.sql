-- The task that holds an idempotency key. :namespace text, :key text
select k.task_id::text as task_id
from task_key k
where k.namespace = :namespace and k.key = :key
  and (k.unique_while = 'always' or exists (select from task t where t.id = k.task_id and t.state = {OPEN}))
