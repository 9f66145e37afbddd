-- Count a reopened task among the open ones of its key. :task_id uuid
update task_place set ended = false where task_id = :task_id::uuid
