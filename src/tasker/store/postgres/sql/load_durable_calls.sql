-- The durable calls of a step; remaining: seconds until the end of a sleep. :task_id uuid, :no int
select name, kind, value::text as value, coalesce(extract(epoch from until - now()), 0)::float8 as remaining
from durable_call
where task_id = :task_id::uuid and no = :no
