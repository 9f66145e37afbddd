-- Delete the durable calls of a step. :task_id text, :no int
delete from durable_call where task_id = :task_id and no = :no
