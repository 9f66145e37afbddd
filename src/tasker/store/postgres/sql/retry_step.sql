-- Enqueue a failed step again; with :held, out of its queue. :task_id uuid, :no int, :counted_attempts int, :held boolean
with retried as (
    update step
    set state = {ENQUEUED}, run_at = now(), enqueued_at = now(), uncounted_attempts = attempt - :counted_attempts::int, lost_attempts = 0,
        queue_id = case when :held::boolean then -abs(queue_id) else queue_id end
    where task_id = :task_id::uuid and no = :no and state = {ERROR}
    returning *
)
{include enqueue steps=retried}
