-- Record that a task no longer waits for a place. :task_id uuid
update task_place set waiting = false where task_id = :task_id::uuid
