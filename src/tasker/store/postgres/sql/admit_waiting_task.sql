-- Note that a task waits no longer. :task_id uuid
update task_place set waiting = false where task_id = :task_id::uuid
