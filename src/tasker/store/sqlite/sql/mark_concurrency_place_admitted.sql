-- Record that a task no longer waits for a place. :task_id text
update task_place set waiting = 0 where task_id = :task_id
