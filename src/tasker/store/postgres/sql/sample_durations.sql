-- Durations in seconds of the newest complete tasks of a template and of the last attempts of their complete steps.
-- :template_id int, :seen int (tasks looked at, the newest), :tasks int (of them, those that count),
-- :steps int (up to this number)
with newest as materialized (
    select id, created_at, ended_at from (
        select id, state, created_at, ended_at from task
        where template_id = :template_id::int
        order by id desc
        limit :seen::int
    ) seen
    where state = {COMPLETE}
    order by id desc
    limit :tasks::int
)
select 0 as node, extract(epoch from ended_at - created_at)::float8 as seconds
from newest
union all
select coalesce(s.template_node, s.no) as node, extract(epoch from s.settled_at - s.claimed_at)::float8 as seconds
from newest
join step s on s.task_id = newest.id and s.no <= :steps::int
where s.state = {COMPLETE} and s.claimed_at is not null
