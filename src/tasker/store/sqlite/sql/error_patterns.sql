-- Kinds of errors among the newest attempts of a window, the most frequent first.
-- :templates text (JSON list) or null (all), :since text, :most int, :most_attempts int, :limit int
with sample as materialized (
    select id, template_id
    from task
    where id >= :since
      and (:templates is null or template_id in (select value from json_each(:templates)))
    order by id desc
    limit :most
), ran as materialized (
    select a.task_id, s.template_id, a.outcome, a.error, a.settled_at
    from sample s
    cross join attempt a on a.task_id = s.id
    where a.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
    limit :most_attempts
)
select coalesce(json_extract(error, '$.type'), 'unknown'), json_extract(error, '$.code'), count(*),
       count(*) filter (where outcome = {OUTCOME.ERROR}), max(settled_at)
from ran
where outcome in ({OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
group by 1, 2
order by 3 desc, 1, 2
limit :limit
