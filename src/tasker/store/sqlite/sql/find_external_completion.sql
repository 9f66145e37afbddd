-- The completion of an external step. :task_id text, :no int, :name text
select name, kind, value
from durable_call where task_id = :task_id and no = :no and name = :name
