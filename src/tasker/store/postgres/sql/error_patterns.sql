-- Kinds of errors among the newest attempts of a window, the most frequent first.
-- :templates int[] or null (all), :since uuid, :most int, :most_attempts int, :limit int
with {include attempts_of_recent_tasks}
select coalesce(error ->> 'type', 'unknown') as type, error ->> 'code' as code, count(*) as count,
       count(*) filter (where outcome = {OUTCOME.ERROR}) as final, max(settled_at) as last_seen_at
from ran
where outcome in ({OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
group by 1, 2
order by 3 desc, 1, 2
limit :limit::int
