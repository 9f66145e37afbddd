-- Steps that could run or have failed and for which others wait, by the number of steps that wait;
-- of the newest open tasks of a window.
-- :templates int[] or null (all), :since uuid, :most int, :most_steps int, :limit int
with open as materialized (
    select id, template_id
    from task
    where state = {OPEN}
      and id >= :since::uuid
      and (:templates::int[] is null or template_id = any (:templates))
    order by id desc
    limit :most::int
), head as materialized (
    select o.template_id, s.name, s.state, cardinality(s.children) as children,
           extract(epoch from now() - greatest(s.enqueued_at, s.run_at))::float8 as seconds
    from open o
    cross join lateral (select * from step where step.task_id = o.id) s
    where s.state in ({ENQUEUED}, {IN_PROGRESS}, {WAITING}, {ERROR}) and s.children <> '{0}'
    limit :most_steps::int
)
select p.namespace, p.name, p.version, h.name as step, count(*) as tasks,
       count(*) filter (where h.state = {ERROR}) as failed,
       sum(h.children)::int as waiting, coalesce(avg(greatest(h.seconds, 0)), 0) as average
from head h
join template p on p.id = h.template_id
group by p.namespace, p.name, p.version, h.name
order by 7 desc, 1, 2, 3, 4
limit :limit::int
