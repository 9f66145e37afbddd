-- The durable calls of a step; remaining: seconds until the end of a sleep.
-- :task_id text, :no int, :now real
select name, kind, value, coalesce(until - :now, 0.0) as remaining
from durable_call
where task_id = :task_id and no = :no
