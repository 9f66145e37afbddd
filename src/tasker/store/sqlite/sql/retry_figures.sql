-- What became of steps that were tried again, by the newest attempts of a window: one row.
-- :templates text (JSON list) or null (all), :since text, :most int, :most_attempts int
with sample as materialized (
    select id, template_id
    from task
    where id >= :since
      and (:templates is null or template_id in (select value from json_each(:templates)))
    order by id desc
    limit :most
), ran as materialized (
    select a.task_id, s.template_id, a.no, a.outcome
    from sample s
    cross join attempt a on a.task_id = s.id
    where a.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
    limit :most_attempts
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
