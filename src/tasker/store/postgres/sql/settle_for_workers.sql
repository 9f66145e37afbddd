-- Settle outcomes of several workers, store the events of the accepted ones, and wake idle workers if
-- limits let more through now. See functions/settle_outcomes.sql. :owners int[] (places in :workers, by outcome),
-- :workers bigint[], :rooms int[], :wakes boolean; events as in settle_with_events.sql.
with settled as materialized (
    select kind, task_id::text, no, attempt, at
    from settle_outcomes(null, :tasks::uuid[], :nos::text::int[], :attempts::text::int[], :outcomes::text::smallint[], :results, :errors, :delays, :choices, :to_handler, 2147483647,
                :owners, :workers, :rooms)
), published as (
    {include publish_events}
)
select kind, task_id, no, attempt, at from settled
where (select count(wake_workers()::text) from (values (1)) as once where :wakes) >= 0
