-- Running attempts whose worker's lease expired. :now real, :limit int
select s.task_id, s.no, s.attempt, s.attempt - s.uncounted_attempts as counted_attempts, s.checkpoint,
       {include queued_and_parked_seconds step=s},
       t.template_id, w.name as worker_name, s.lost_attempts, coalesce(s.template_node, s.no) as node
from worker w
join step s on s.worker = w.id and s.state = {IN_PROGRESS}
join task t on t.id = s.task_id
where w.lease_until <= :now
limit :limit
