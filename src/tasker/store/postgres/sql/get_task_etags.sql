-- The columns from which the ETags of tasks are computed; no row for an id without a task. :ids uuid[], :counted int
with chosen as (
    select * from task where id = any (:ids::uuid[])
)
select r.id, r.state, r.updated_at, r.pauses, r.uncounted_steps, r.parents_to_come, r.attempts, r.due_steps,
       r.pending_steps, r.enqueued_steps, r.steps_waiting_for_retry, r.steps_without_worker, r.steps_in_progress,
       r.waiting_steps, r.complete_steps, r.failed_steps, r.cancelled_steps, r.skipped_steps, r.resolved_steps
from (
{include tasks_with_step_counts}
) r
