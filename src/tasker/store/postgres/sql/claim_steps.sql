-- See functions/claim_steps.sql.
select task_id::text, no, attempt, counted_attempts, checkpoint, queued, parked, at
from claim_steps(:worker, :limit, :after, :from_queues, :from_run_at, :from_tasks, :from_nos)
