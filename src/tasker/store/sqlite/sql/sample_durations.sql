-- Durations in seconds of the newest complete tasks of a template and of the last attempts of their complete steps.
-- :template_id int, :seen int (tasks looked at, the newest), :tasks int (of them, those that count),
-- :steps int (up to this number)
with newest as materialized (
    select id, created_at, ended_at from (
        select id, state, created_at, ended_at from task
        where template_id = :template_id
        order by id desc
        limit :seen
    ) seen
    where state = {COMPLETE}
    order by id desc
    limit :tasks
)
select 0 as node, ended_at - created_at as seconds
from newest
union all
select coalesce(s.template_node, s.no) as node, s.settled_at - s.claimed_at as seconds
from newest
join step s on s.task_id = newest.id and s.no <= :steps
where s.state = {COMPLETE} and s.claimed_at is not null
