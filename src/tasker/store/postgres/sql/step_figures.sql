-- How each step of each template fared, by the newest attempts of a window.
-- :templates int[] or null (all), :since uuid, :most int, :most_attempts int, :min_executions int, :most_kinds int
with sample as materialized (
    select id, template_id
    from task
    where id >= :since::uuid
      and (:templates::int[] is null or template_id = any (:templates))
    order by id desc
    limit :most::int
), ran as materialized (
    select a.task_id, s.template_id, a.no, a.outcome, a.settled_at, extract(epoch from a.settled_at - a.claimed_at)::float8 as seconds
    from sample s
    cross join lateral (select * from attempt where attempt.task_id = s.id) a
    where a.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
    limit :most_attempts::int
)
select p.namespace, p.name, p.version, t.name, coalesce(avg(r.seconds), 0), coalesce(max(r.seconds), 0),
       count(*), count(*) filter (where r.outcome in ({OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})),
       count(*) filter (where r.outcome in ({OUTCOME.RETRY}, {OUTCOME.LOST})), max(r.settled_at)
from ran r
join template p on p.id = r.template_id
join template_step t on t.template_id = r.template_id and t.no = r.no
group by p.namespace, p.name, p.version, t.name
having count(*) >= :min_executions::int
limit :most_kinds::int
