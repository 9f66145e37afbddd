-- The step of an attempt in progress. :task_id text, :no int, :attempt int
select no from step
where task_id = :task_id and no = :no and attempt = :attempt and state = {IN_PROGRESS}
