-- Count a reopened task among the open ones of its key. :task_id text
update task_place set ended = 0 where task_id = :task_id
