-- Delete the step that plans how others are undone, which was not claimed. :task_id text
delete from step where task_id = :task_id and undoes = 0
