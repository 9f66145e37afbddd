-- The oldest broadcast since a task's creation, beyond :after.
-- :task_id uuid, :namespace, :name, :key text, :after bigint
select number, payload::text as payload, sent_by, sent_at
from broadcast
where namespace = :namespace and name = :name and key = :key and number > :after::bigint
  and sent_at >= (select created_at from task where id = :task_id::uuid)
order by number
limit 1
