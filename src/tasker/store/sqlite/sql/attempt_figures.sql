-- How the newest attempts of a window fared: one row. Those that were handed back,
-- parked, cancelled or resolved by hand do not count.
-- :templates text (JSON list) or null (all), :since text, :most int, :most_attempts int
with sample as materialized (
    select id, template_id
    from task
    where id >= :since
      and (:templates is null or template_id in (select value from json_each(:templates)))
    order by id desc
    limit :most
), ran as materialized (
    select a.task_id, s.template_id, a.outcome, a.settled_at - a.claimed_at as seconds
    from sample s
    cross join attempt a on a.task_id = s.id
    where a.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
    limit :most_attempts
), ranked as materialized (
    select seconds, cume_dist() over (order by seconds) as share
    from ran
    where outcome = {OUTCOME.COMPLETE}
)
select count(*), count(*) filter (where outcome = {OUTCOME.COMPLETE}), count(*) filter (where outcome in ({OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})),
       coalesce(avg(seconds) filter (where outcome = {OUTCOME.COMPLETE}), 0),
       coalesce((select min(seconds) from ranked where share >= 0.5), 0),
       coalesce((select min(seconds) from ranked where share >= 0.95), 0),
       coalesce((select min(seconds) from ranked where share >= 0.99), 0),
       min(task_id)
from ran
