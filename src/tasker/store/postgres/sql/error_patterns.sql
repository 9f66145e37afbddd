-- Kinds of errors among the newest attempts of a window, the most frequent first.
-- :templates int[] or null (all), :since uuid, :most int, :most_attempts int, :limit int
with sample as materialized (
    select id, template_id
    from task
    where id >= :since::uuid
      and (:templates::int[] is null or template_id = any (:templates))
    order by id desc
    limit :most::int
), ran as materialized (
    select a.task_id, s.template_id, a.outcome, a.error, a.settled_at
    from sample s
    cross join lateral (select * from attempt where attempt.task_id = s.id) a
    where a.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
    limit :most_attempts::int
)
select coalesce(error ->> 'type', 'unknown'), error ->> 'code', count(*),
       count(*) filter (where outcome = {OUTCOME.ERROR}), max(settled_at)
from ran
where outcome in ({OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
group by 1, 2
order by 3 desc, 1, 2
limit :limit::int
