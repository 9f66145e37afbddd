-- The steps that a worker runs, most recently claimed first. :worker bigint, :limit int
select s.task_id::text as task_id, p.namespace, p.name as template, p.version, s.no, s.name,
       {include instance_path step=s} as instances, s.attempt, s.claimed_at
from claim_batch b
{include steps_of_claim_batch batch=b step=s}
join task t on t.id = s.task_id
join template p on p.id = t.template_id
where b.worker = :worker
order by s.claimed_at desc, s.task_id, s.no
limit :limit::int
