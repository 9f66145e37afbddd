-- Cancel the steps of a range that have not started.
-- :task_id text, :first_no, :last_no int, :now real
update step
set state = {CANCELLED}, settled_at = :now
where task_id = :task_id and no between :first_no and :last_no and +state in ({PENDING}, {ENQUEUED})
returning 1 as steps
