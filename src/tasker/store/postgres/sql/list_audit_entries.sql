-- Operators' actions on a task, oldest first. :task_id uuid
select a.task_id::text as task_id, s.name as step, {include instance_path step=s} as instances, a.at, a.actor, a.action, a.reason, a.before, a.after, a.via, a.bulk_id::text as bulk_id
from audit a
left join step s on s.task_id = a.task_id and s.no = a.no
where a.task_id = :task_id::uuid
order by a.id
