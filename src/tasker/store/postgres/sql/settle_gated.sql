-- Settle, and wake idle workers: they may claim what limits let through now. See functions/settle.sql.
with settled as materialized (
    {include call_settle}
)
select kind, task_id, no, attempt, at from settled where (select count(wake()::text) from (values (1)) as once) >= 0
