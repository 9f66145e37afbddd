-- Note that a task waits no longer. :task_id text
update task_place set waiting = 0 where task_id = :task_id
