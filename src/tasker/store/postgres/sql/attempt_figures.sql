-- How the newest attempts of a window fared: one row. Those that were handed back,
-- parked, cancelled or resolved by hand do not count.
-- :templates int[] or null (all), :since uuid, :most int, :most_attempts int
with sample as materialized (
    select id, template_id
    from task
    where id >= :since::uuid
      and (:templates::int[] is null or template_id = any (:templates))
    order by id desc
    limit :most::int
), ran as materialized (
    select a.task_id, s.template_id, a.outcome, extract(epoch from a.settled_at - a.claimed_at)::float8 as seconds
    from sample s
    cross join lateral (select * from attempt where attempt.task_id = s.id) a
    where a.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
    limit :most_attempts::int
)
select count(*), count(*) filter (where outcome = {OUTCOME.COMPLETE}), count(*) filter (where outcome in ({OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})),
       coalesce(avg(seconds) filter (where outcome = {OUTCOME.COMPLETE}), 0),
       coalesce(percentile_disc(0.5) within group (order by seconds) filter (where outcome = {OUTCOME.COMPLETE}), 0),
       coalesce(percentile_disc(0.95) within group (order by seconds) filter (where outcome = {OUTCOME.COMPLETE}), 0),
       coalesce(percentile_disc(0.99) within group (order by seconds) filter (where outcome = {OUTCOME.COMPLETE}), 0),
       (select r.task_id::text from ran r order by r.task_id limit 1)
from ran
