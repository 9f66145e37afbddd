-- Templates whose tasks took longest on average, of the newest of a window that ended.
-- :templates int[] or null (all), :since uuid, :most int, :min_executions int, :limit int
with sample as materialized (
    select template_id, state, ended_at, extract(epoch from ended_at - created_at)::float8 as seconds
    from task
    where id >= :since::uuid
      and (:templates::int[] is null or template_id = any (:templates))
    order by id desc
    limit :most::int
)
select p.namespace, p.name, p.version, avg(s.seconds), max(s.seconds), count(*),
       avg(t.steps)::float8,
       count(*) filter (where s.state = {ERROR}), max(s.ended_at)
from sample s
join template p on p.id = s.template_id
join (select template_id, count(*) as steps from template_step group by template_id) t
     on t.template_id = s.template_id
where s.state in ({COMPLETE}, {ERROR})
group by p.namespace, p.name, p.version
having count(*) >= :min_executions::int
order by 4 desc, 1, 2, 3
limit :limit::int
