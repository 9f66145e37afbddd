-- The oldest broadcast since a task's creation, beyond :after.
-- :task_id text, :namespace, :name, :key text, :after int
select number, payload, sent_by, sent_at
from broadcast
where namespace = :namespace and name = :name and key = :key and number > :after
  and sent_at >= (select created_at from task where id = :task_id)
order by number
limit 1
