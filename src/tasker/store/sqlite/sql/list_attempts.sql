-- The ended attempts of a range of steps, oldest first. :task_id text, :first, :last, :limit int
select a.task_id, a.no, s.name as step, {include instance_path step=s} as instances, a.attempt, a.outcome, coalesce(w.name, cast(a.worker as text)) as worker,
       a.enqueued_at, a.claimed_at, a.settled_at, a.error
from attempt_history a
join step s on s.task_id = a.task_id and s.no = a.no
left join worker w on w.id = a.worker
where a.task_id = :task_id and a.no between :first and :last
order by a.settled_at, a.no, a.attempt
limit :limit
