-- Of {step}, which is in progress: seconds from its due time to its claim, and those before that
-- for which it waited for a task; null after an attempt that failed, whose error it still has.
-- (SQLite 3.40 takes `error is null` for false in a returning clause.)
{step}.claimed_at - {step}.enqueued_at as queued,
case when {step}.attempt > 1 and typeof({step}.error) = 'null'
     then {step}.enqueued_at - {step}.settled_at end as parked
