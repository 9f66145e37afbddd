-- Let only this transaction distribute events until it ends; no row if another one does.
select 1 as locked where pg_try_advisory_xact_lock(hashtextextended(current_schema() || '.outbox', 0))
