-- The order in which the steps of a queue are claimed, that of the primary key of `due`. Settlement
-- and creation claim only steps that their own transaction makes due, all from the same time on, so
-- they rank by (task_id, no) alone.
{step}.run_at, {step}.task_id, {step}.no
