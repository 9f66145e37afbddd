-- End the steps of a task that have not ended, running ones included. :task_id text, :state int, :now real
update step set state = :state, settled_at = :now, waits_for = null
where task_id = :task_id and state in ({PENDING}, {ENQUEUED}, {IN_PROGRESS}, {WAITING})
