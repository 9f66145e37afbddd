-- See functions/claim.sql.
select task_id::text, no, attempt, tries, checkpoint, next_due from claim(:worker, :queues, :limit)
