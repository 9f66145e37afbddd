-- Due or failed steps that block others, by the number of blocked steps,
-- in the newest open tasks of a window.
-- :templates text (JSON list) or null (all), :since text, :most int, :most_steps int, :limit int, :now real
with open as materialized (
    select id, template_id
    from task
    where state = {OPEN}
      and id >= :since
      and (:templates is null or template_id in (select value from json_each(:templates)))
    order by id desc
    limit :most
), head as materialized (
    select o.template_id, s.name, s.state, json_array_length(s.children) as children,
           max(:now - max(s.enqueued_at, s.run_at), 0) as seconds
    from open o
    cross join step s on s.task_id = o.id
    where s.state in ({ENQUEUED}, {IN_PROGRESS}, {WAITING}, {ERROR}) and s.children <> '[0]'
    limit :most_steps
)
select p.namespace, p.name, p.version, h.name as step, count(*) as tasks,
       count(*) filter (where h.state = {ERROR}) as failed,
       sum(h.children) as waiting, coalesce(avg(h.seconds), 0) as average
from head h
join template p on p.id = h.template_id
group by p.namespace, p.name, p.version, h.name
order by 7 desc, 1, 2, 3, 4
limit :limit
