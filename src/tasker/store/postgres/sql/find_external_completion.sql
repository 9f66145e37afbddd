-- The completion of an external step. :task_id uuid, :no int, :name text
select name, kind, value::text as value
from durable_call where task_id = :task_id::uuid and no = :no and name = :name
