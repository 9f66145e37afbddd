-- Claims that a worker holds. :worker bigint
select s.task_id::text, s.no, s.attempt, s.attempt - s.uncounted_attempts as counted_attempts, s.checkpoint::text,
       {include queued_and_parked_seconds step=s}
from claim_batch b
{include steps_of_claim_batch batch=b step=s}
where b.worker = :worker
