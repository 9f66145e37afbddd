-- See functions/claim.sql.
select task_id::text, no, attempt, counted_attempts, checkpoint, queued, parked, at
from claim(:worker, :limit, :after, :from_queues, :from_run_at, :from_tasks, :from_nos)
