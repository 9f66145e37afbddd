-- The steps of a task. :task_id uuid
select no from step where task_id = :task_id::uuid order by no
