-- Templates whose tasks took longest on average, of the newest of a window that ended.
-- :templates int[] or null (all), :since uuid, :most int, :min_executions int, :limit int
with {include recent_tasks}
select p.namespace, p.name, p.version, avg(s.seconds) as average, max(s.seconds) as longest,
       count(*) as executions, avg(t.steps)::float8 as steps,
       count(*) filter (where s.state = {ERROR}) as errors, max(s.ended_at) as last_executed_at
from recent s
join template p on p.id = s.template_id
join (select template_id, count(*) as steps from template_step group by template_id) t
     on t.template_id = s.template_id
where s.state in ({COMPLETE}, {ERROR})
group by p.namespace, p.name, p.version
having count(*) >= :min_executions::int
order by 4 desc, 1, 2, 3
limit :limit::int
