-- Store the checkpoint of an attempt; no row if it no longer holds the step. :task_id text, :no int, :attempt int,
-- :value text
update step set checkpoint = :value
where task_id = :task_id and no = :no and attempt = :attempt and state = {IN_PROGRESS}
returning no
