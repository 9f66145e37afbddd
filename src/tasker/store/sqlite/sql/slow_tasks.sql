-- Templates whose tasks took longest on average, of the newest of a window that ended.
-- :templates text (JSON list) or null (all), :since text, :most int, :min_executions int, :limit int
with sample as materialized (
    select template_id, state, ended_at, ended_at - created_at as seconds
    from task
    where id >= :since
      and (:templates is null or template_id in (select value from json_each(:templates)))
    order by id desc
    limit :most
)
select p.namespace, p.name, p.version, avg(s.seconds), max(s.seconds), count(*), avg(t.steps),
       count(*) filter (where s.state = {ERROR}), max(s.ended_at)
from sample s
join template p on p.id = s.template_id
join (select template_id, count(*) as steps from template_step group by template_id) t
     on t.template_id = s.template_id
where s.state in ({COMPLETE}, {ERROR})
group by p.namespace, p.name, p.version
having count(*) >= :min_executions
order by 4 desc, 1, 2, 3
limit :limit
