-- Enqueue a failed step again. :task_id uuid, :no int, :counted_attempts int
with retried as (
    update step
    set state = {ENQUEUED}, run_at = now(), enqueued_at = now(), uncounted_attempts = attempt - :counted_attempts::int, lost_attempts = 0
    where task_id = :task_id::uuid and no = :no and state = {ERROR}
    returning *
)
{include enqueue steps=retried}
