-- How each step of each template fared, by the newest attempts of a window.
-- :templates text (JSON list) or null (all), :since text, :most int, :most_attempts int, :min_executions int, :most_kinds int
with {include recent_attempts}
select p.namespace, p.name, p.version, t.name as step,
       coalesce(avg(r.seconds), 0) as average, coalesce(max(r.seconds), 0) as longest,
       count(*) as executions, count(*) filter (where r.outcome in ({OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})) as errors,
       count(*) filter (where r.outcome in ({OUTCOME.RETRY}, {OUTCOME.LOST})) as retries,
       max(r.settled_at) as last_executed_at
from ran r
join template p on p.id = r.template_id
join template_step t on t.template_id = r.template_id and t.no = r.no
group by p.namespace, p.name, p.version, t.name
having count(*) >= :min_executions
limit :most_kinds
