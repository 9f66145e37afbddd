-- Record durable calls of attempts in progress; seconds: until the end of a sleep. The steps stay
-- locked, so that no other attempt begins before the records are there.
-- :tasks uuid[], :nos int[], :attempts int[], :names, :kinds, :contents text[], :delays float8[],
-- :untils timestamptz[]
with given as materialized (
    select * from unnest(
        :tasks::uuid[], :nos::int[], :attempts::int[], :names::text[], :kinds::text[], :contents::text[],
        :delays::float8[], :untils::timestamptz[]
    ) with ordinality as g (task_id, no, attempt, name, kind, value, delay, until, ord)
), held as materialized (
    select g.task_id, g.no, g.name, g.kind, g.value, g.ord, coalesce(g.until, now() + g.delay * interval '1 s') as until
    from given g
    cross join lateral (
        select from step s
        where s.task_id = g.task_id and s.no = g.no and s.attempt = g.attempt and s.state = {IN_PROGRESS}
        offset 0
        for no key update
    ) s
), kept as (
    insert into durable_call (task_id, no, name, kind, value, until)
    select task_id, no, name, kind, value::json, until from held
    on conflict do nothing
)
select ord::int as ord, coalesce(extract(epoch from until - now()), 0)::float8 as remaining from held
