-- How each step of each template fared, by the newest attempts of a window.
-- :templates text (JSON list) or null (all), :since text, :most int, :most_attempts int, :min_executions int, :most_kinds int
with sample as materialized (
    select id, template_id
    from task
    where id >= :since
      and (:templates is null or template_id in (select value from json_each(:templates)))
    order by id desc
    limit :most
), ran as materialized (
    select a.task_id, s.template_id, a.no, a.outcome, a.settled_at, a.settled_at - a.claimed_at as seconds
    from sample s
    cross join attempt a on a.task_id = s.id
    where a.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
    limit :most_attempts
)
select p.namespace, p.name, p.version, t.name, coalesce(avg(r.seconds), 0), coalesce(max(r.seconds), 0),
       count(*), count(*) filter (where r.outcome in ({OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})),
       count(*) filter (where r.outcome in ({OUTCOME.RETRY}, {OUTCOME.LOST})), max(r.settled_at)
from ran r
join template p on p.id = r.template_id
join template_step t on t.template_id = r.template_id and t.no = r.no
group by p.namespace, p.name, p.version, t.name
having count(*) >= :min_executions
limit :most_kinds
