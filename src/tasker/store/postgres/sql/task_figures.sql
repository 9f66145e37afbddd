-- How the newest tasks of a window fared: one row.
-- :templates int[] or null (all), :since uuid, :most int, :last_hour uuid (ids from then on)
with sample as materialized (
    select id, template_id, state, extract(epoch from ended_at - created_at)::float8 as seconds
    from task
    where id >= :since::uuid
      and (:templates::int[] is null or template_id = any (:templates))
    order by id desc
    limit :most::int
), complete as (
    select avg(seconds) as average,
           percentile_disc(0.5) within group (order by seconds) as p50,
           percentile_disc(0.95) within group (order by seconds) as p95,
           percentile_disc(0.99) within group (order by seconds) as p99,
           count(*) filter (where seconds < 10) as quick,
           count(*) filter (where seconds >= 10 and seconds < 30) as middling,
           count(*) filter (where seconds >= 30) as slow
    from sample
    where state = {COMPLETE}
), counted as (
    select count(*) as total,
           count(*) filter (where s.state = {OPEN}) as active,
           count(*) filter (where s.state = {COMPLETE}) as complete,
           count(*) filter (where s.state = {ERROR}) as failed,
           count(*) filter (where s.state = {CANCELLED}) as cancelled,
           count(*) filter (where s.state = {RESOLVED_MANUALLY}) as resolved,
           count(*) filter (where s.state in ({COMPLETE}, {RESOLVED_MANUALLY}) and s.id >= :last_hour::uuid) as lately_done,
           count(*) filter (where s.state = {ERROR} and s.id >= :last_hour::uuid) as lately_failed,
           count(distinct p.namespace) as namespaces,
           count(distinct p.namespace || '.' || p.name) as types
    from sample s
    join template p on p.id = s.template_id
)
select n.total, n.active, n.complete, n.failed, n.cancelled, n.resolved,
       n.lately_done, n.lately_failed, n.namespaces, n.types,
       coalesce(c.average, 0), coalesce(c.p50, 0), coalesce(c.p95, 0), coalesce(c.p99, 0),
       c.quick, c.middling, c.slow, (select s.id::text from sample s order by s.id limit 1)
from counted n cross join complete c
