-- How many retried steps succeeded and how many failed, from the newest attempts of a window: one row.
-- :templates int[] or null (all), :since uuid, :most int, :most_attempts int
with {include attempts_of_recent_tasks}
select count(*) as retried, count(*) filter (where done = 1) as succeeded,
       count(*) filter (where done = 0 and steps.failed = 1) as failed
from (
    select max(case when outcome in ({OUTCOME.RETRY}, {OUTCOME.LOST}) then 1 else 0 end) as retried,
           max(case when outcome = {OUTCOME.COMPLETE} then 1 else 0 end) as done,
           max(case when outcome = {OUTCOME.ERROR} then 1 else 0 end) as failed
    from ran
    group by task_id, no
) steps
where steps.retried = 1
