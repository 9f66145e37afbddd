-- Claim due steps for a worker. See functions/claim_steps.sql. :worker bigint, :limit, :after int,
-- :from_queues int[], :from_run_at float8[], :from_tasks uuid[], :from_nos int[]
select task_id::text, no, attempt, counted_attempts, checkpoint, queued, parked, at
from claim_steps(:worker, :limit, :after, :from_queues, :from_run_at, :from_tasks, :from_nos)
