-- See functions/claim.sql.
select task_id::text, no, attempt, counted_attempts, checkpoint, queued, parked, next_due from claim(:worker, :queues, :limit)
