-- The attempt of the step that plans how others are undone. :task_id text, :no int, :attempt int
select no from step
where task_id = :task_id and no = :no and attempt = :attempt and state = {IN_PROGRESS} and undoes = 0
