-- Delete what a step waits for. :task_id text, :no int
delete from wait where task_id = :task_id and no = :no
