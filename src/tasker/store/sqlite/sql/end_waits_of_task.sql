-- Delete what the steps of a task wait for. :task_id text
delete from wait where task_id = :task_id
