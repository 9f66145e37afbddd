-- Claim for several workers that serve the same queues. See functions/claim_steps.sql.
-- :workers bigint[], the first :worker; :rooms int[], whose sum is :limit; otherwise as in claim_steps.sql.
select task_id::text, no, attempt, counted_attempts, checkpoint, queued, parked, at
from claim_steps(:worker, :limit, :after, :from_queues, :from_run_at, :from_tasks, :from_nos, :workers, :rooms)
