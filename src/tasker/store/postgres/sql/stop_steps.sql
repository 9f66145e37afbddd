-- End the steps of a task that have not ended, running ones included. :task_id uuid, :state int
update step set state = :state, settled_at = clock_timestamp()
where task_id = :task_id::uuid and state in ({PENDING}, {ENQUEUED}, {IN_PROGRESS}, {WAITING})
