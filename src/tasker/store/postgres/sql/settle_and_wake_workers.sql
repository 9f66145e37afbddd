-- Settle, and wake idle workers: they may claim what limits let through now. See functions/settle_outcomes.sql.
with settled as materialized (
    {include call_settle_outcomes}
)
select kind, task_id, no, attempt, at from settled where (select count(wake_workers()::text) from (values (1)) as once) >= 0
