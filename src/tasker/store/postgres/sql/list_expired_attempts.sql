-- Running attempts whose worker's lease expired. :limit int
select s.task_id::text, s.no, s.attempt, s.attempt - s.uncounted_attempts as counted_attempts, s.checkpoint::text,
       {include queued_and_parked_seconds step=s},
       t.template_id, w.name as worker_name, s.lost_attempts, coalesce(s.template_node, s.no) as node
from worker w
join claim_batch b on b.worker = w.id
{include steps_of_claim_batch batch=b step=s}
join task t on t.id = s.task_id
where w.lease_until <= now()
limit :limit::int
