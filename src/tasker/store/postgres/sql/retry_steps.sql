-- Enqueue locked failed steps again; with :held, outside their queues.
-- :task_id uuid, :nos int[], :counted_attempts int, :held boolean
with retried as (
    update step
    set state = {ENQUEUED}, run_at = now(), enqueued_at = now(), uncounted_attempts = attempt - :counted_attempts::int, lost_attempts = 0,
        queue_id = case when :held::boolean then -abs(queue_id) else queue_id end
    where ctid = any (array(select s.ctid from {include step_rows_by_number})) and state = {ERROR}
    returning *
)
{include insert_due_rows steps=retried}
