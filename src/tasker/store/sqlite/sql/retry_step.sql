-- Enqueue a failed step again. :task_id text, :no int, :counted_attempts int, :now real
update step
set state = {ENQUEUED}, run_at = :now, enqueued_at = :now, uncounted_attempts = attempt - :counted_attempts, lost_attempts = 0
where task_id = :task_id and no = :no and state = {ERROR}
