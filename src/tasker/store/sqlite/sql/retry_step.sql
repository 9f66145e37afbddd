-- Enqueue a failed step again; with :held, out of its queue. :task_id text, :no int, :counted_attempts int, :held int, :now real
update step
set state = {ENQUEUED}, run_at = :now, enqueued_at = :now, uncounted_attempts = attempt - :counted_attempts, lost_attempts = 0,
    queue_id = case when :held then -abs(queue_id) else queue_id end
where task_id = :task_id and no = :no and state = {ERROR}
