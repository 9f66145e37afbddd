-- Claim for several workers that serve the same queues. See functions/claim.sql.
-- :workers bigint[], the first :worker; :rooms int[], whose sum is :limit; otherwise as in claim.sql.
select task_id::text, no, attempt, counted_attempts, checkpoint, queued, parked, at
from claim(:worker, :limit, :after, :from_queues, :from_run_at, :from_tasks, :from_nos, :workers, :rooms)
