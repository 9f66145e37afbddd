-- The steps that a worker runs, most recently claimed first. :worker, :limit int
select s.task_id, p.namespace, p.name as template, p.version, s.no, s.name,
       {include instance_path step=s} as instances, s.attempt, s.claimed_at
from step s
join task t on t.id = s.task_id
join template p on p.id = t.template_id
where s.worker = :worker and s.state = {IN_PROGRESS}
order by s.claimed_at desc, s.task_id, s.no
limit :limit
