-- What became of steps that were tried again, by the newest attempts of a window: one row.
-- :templates int[] or null (all), :since uuid, :most int, :most_attempts int
with sample as materialized (
    select id, template_id
    from task
    where id >= :since::uuid
      and (:templates::int[] is null or template_id = any (:templates))
    order by id desc
    limit :most::int
), ran as materialized (
    select a.task_id, s.template_id, a.no, a.outcome
    from sample s
    cross join lateral (select * from attempt where attempt.task_id = s.id) a
    where a.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
    limit :most_attempts::int
)
select count(*), count(*) filter (where done = 1), count(*) filter (where done = 0 and failed = 1)
from (
    select max(case when outcome in ({OUTCOME.RETRY}, {OUTCOME.LOST}) then 1 else 0 end) as retried,
           max(case when outcome = {OUTCOME.COMPLETE} then 1 else 0 end) as done,
           max(case when outcome = {OUTCOME.ERROR} then 1 else 0 end) as failed
    from ran
    group by task_id, no
) steps
where retried = 1
