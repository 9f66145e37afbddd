-- The newest ended attempts of a worker, from the newest tasks. :worker int, :templates text (JSON list) or null (all),
-- :since text, :most int (tasks), :most_attempts int (of these tasks, by any worker), :limit int
with {include recent_tasks}, seen as materialized (
    select r.template_id, a.task_id, a.no, a.attempt, a.outcome, a.worker, a.claimed_at, a.settled_at, a.error
    from recent r
    cross join attempt_history a
    where a.task_id = r.id
    limit :most_attempts
), own as materialized (
    select * from seen
    where worker = :worker
    order by settled_at desc, task_id desc, no desc
    limit :limit
)
select own.task_id, p.namespace, p.name as template, p.version, s.name, {include instance_path step=s} as instances,
       own.attempt, own.outcome, own.claimed_at, own.settled_at, coalesce(substr(own.error ->> 'code', 1, 200), substr(own.error ->> 'type', 1, 200)) as error
from own
join step s on s.task_id = own.task_id and s.no = own.no
join template p on p.id = own.template_id
order by own.settled_at desc, own.task_id desc, own.no desc
