-- Delete the durable calls of a step. :task_id uuid, :no int
delete from durable_call where task_id = :task_id::uuid and no = :no
