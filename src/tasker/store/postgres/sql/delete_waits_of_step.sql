-- Delete what a step waits for. :task_id uuid, :no int
delete from wait where task_id = :task_id::uuid and no = :no
