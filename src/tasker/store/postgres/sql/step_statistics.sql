-- Counts and durations of each step of each template, from the newest attempts of a window.
-- :templates int[] or null (all), :since uuid, :most int, :most_attempts int, :min_executions int, :most_kinds int
with {include attempts_of_recent_tasks}, parked as materialized (
    select r.template_id, a.template_node, a.settled_at,
           extract(epoch from coalesce(
               (select n.enqueued_at from attempt_history n where n.task_id = a.task_id and n.no = a.no and n.attempt = a.attempt + 1),
               case when s.state = {WAITING} then now() when s.state in ({ENQUEUED}, {IN_PROGRESS}) then s.enqueued_at else s.settled_at end
           ) - a.settled_at)::float8 as seconds
    from recent r
    cross join lateral (select * from attempt_history h where h.task_id = r.id offset 0) a   -- task by task, the newest first
    join step s on s.task_id = a.task_id and s.no = a.no
    where a.outcome = {OUTCOME.PARKED}
    limit :most_attempts::int
), everything as (
    select template_id, template_node, outcome, settled_at, seconds, null as parked from ran
    union all
    select template_id, template_node, {OUTCOME.PARKED}, settled_at, null, seconds from parked
)
select p.namespace, p.name, p.version, t.name as step,
       coalesce(avg(e.seconds), 0) as average, coalesce(max(e.seconds), 0) as longest,
       coalesce(sum(e.parked), 0) as parked,
       count(e.seconds) as executions, count(*) filter (where e.outcome in ({OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})) as errors,
       count(*) filter (where e.outcome in ({OUTCOME.RETRY}, {OUTCOME.LOST})) as retries,
       max(e.settled_at) as last_executed_at
from everything e
join template p on p.id = e.template_id
join template_step t on t.template_id = e.template_id and t.no = e.template_node
group by p.namespace, p.name, p.version, t.name
having count(*) >= :min_executions::int
limit :most_kinds::int
