-- Statistics on the newest attempts of a window, in one row.
-- :templates text (JSON list) or null (all), :since text, :most int, :most_attempts int
with {include attempts_of_recent_tasks}, ranked as materialized (
    select seconds, cume_dist() over (order by seconds) as share
    from ran
    where outcome = {OUTCOME.COMPLETE}
)
select count(*) as total, count(*) filter (where outcome = {OUTCOME.COMPLETE}) as complete,
       count(*) filter (where outcome in ({OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})) as failed,
       coalesce(avg(seconds) filter (where outcome = {OUTCOME.COMPLETE}), 0) as average,
       coalesce((select min(seconds) from ranked where share >= 0.5), 0) as p50,
       coalesce((select min(seconds) from ranked where share >= 0.95), 0) as p95,
       coalesce((select min(seconds) from ranked where share >= 0.99), 0) as p99,
       min(task_id) as oldest
from ran
