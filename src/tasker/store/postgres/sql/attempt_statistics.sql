-- Counts and durations of the newest attempts of a window: one row.
-- :templates int[] or null (all), :since uuid, :most int, :most_attempts int
with {include attempts_of_recent_tasks}
select count(*) as total, count(*) filter (where outcome = {OUTCOME.COMPLETE}) as complete,
       count(*) filter (where outcome in ({OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})) as failed,
       coalesce(avg(seconds) filter (where outcome = {OUTCOME.COMPLETE}), 0) as average,
       coalesce(percentile_disc(0.5) within group (order by seconds) filter (where outcome = {OUTCOME.COMPLETE}), 0) as p50,
       coalesce(percentile_disc(0.95) within group (order by seconds) filter (where outcome = {OUTCOME.COMPLETE}), 0) as p95,
       coalesce(percentile_disc(0.99) within group (order by seconds) filter (where outcome = {OUTCOME.COMPLETE}), 0) as p99,
       (select r.task_id::text from ran r order by r.task_id limit 1) as oldest
from ran
