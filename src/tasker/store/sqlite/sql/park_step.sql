-- End an attempt that waits for a task. :task_id text, :no int, :attempt int, :waits_for text,
-- :over int (whether that task has ended), :now real
update step
set state = case when :over then {ENQUEUED} else {WAITING} end,
    waits_for = case when :over then null else :waits_for end,
    run_at = :now, enqueued_at = :now, settled_at = :now, error = null,
    uncounted_attempts = uncounted_attempts + 1, lost_attempts = 0
where task_id = :task_id and no = :no and attempt = :attempt and state = {IN_PROGRESS}
returning no
