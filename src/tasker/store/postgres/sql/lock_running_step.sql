-- Lock the step of an attempt in progress. :task_id uuid, :no int, :attempt int
select no from step
where task_id = :task_id::uuid and no = :no and attempt = :attempt and state = {IN_PROGRESS}
for update
