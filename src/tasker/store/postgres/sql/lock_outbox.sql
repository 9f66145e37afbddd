-- Let one process at a time distribute events; no row: another does. Until the transaction ends.
select 1 as locked where pg_try_advisory_xact_lock(hashtextextended(current_schema() || '.outbox', 0))
