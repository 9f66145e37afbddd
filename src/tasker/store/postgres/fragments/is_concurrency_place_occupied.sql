-- Whether the task of {place} counts towards the open ones of its key.
exists (select from task t where t.id = {place}.task_id and t.state = {OPEN} and t.ending is null)
