-- Claim steps that are under limits. :worker bigint, :limit int, :after_outer int, :after int
select task_id::text, no, attempt, counted_attempts, checkpoint, queued, parked, true as gated, at
from claim_limited_steps(:worker, :limit, :after_outer, :after)
