-- Lock the step that plans the compensation; no row if the attempt no longer holds it. :task_id uuid, :no int,
-- :attempt int
select no from step
where task_id = :task_id::uuid and no = :no and attempt = :attempt and state = {IN_PROGRESS} and undoes = 0
