-- Tell whether a task has ended. :task_id text
select state <> 0 from task where id = :task_id
