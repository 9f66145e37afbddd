-- Settle without waiting for the disk, unless a task ended (kind 2). See functions/settle_success.sql.
-- A condition without columns is evaluated once, even if there are no rows.
with settled as materialized (
    {include call_settle_success}
), relaxed as materialized (
    select set_config('synchronous_commit', 'off', true) where not exists (select from settled where kind = 2)
)
select kind, task_id, no, attempt, at from settled where (select count(*) from relaxed) >= 0
