-- The steps of a task. :task_id text
select no from step where task_id = :task_id order by no
