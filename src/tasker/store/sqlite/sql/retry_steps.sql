-- Enqueue failed steps again; with :held, outside their queues.
-- :task_id text, :nos text (JSON list), :counted_attempts int, :held int, :now real
update step
set state = {ENQUEUED}, run_at = :now, enqueued_at = :now, uncounted_attempts = attempt - :counted_attempts, lost_attempts = 0,
    queue_id = case when :held then -abs(queue_id) else queue_id end
where task_id = :task_id and no in (select value from json_each(:nos)) and +state = {ERROR}
