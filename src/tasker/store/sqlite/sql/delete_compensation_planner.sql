-- Delete the step that plans the compensation, which has not been claimed. :task_id text
delete from step where task_id = :task_id and undoes = 0
