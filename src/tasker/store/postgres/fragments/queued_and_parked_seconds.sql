-- Of {step}, which is in progress: seconds from its due time to its claim, and those before that
-- for which it waited for a task; null after an attempt that failed, whose error it still has.
extract(epoch from {step}.claimed_at - {step}.enqueued_at)::float8 as queued,
case when {step}.attempt > 1 and {step}.error is null
     then extract(epoch from {step}.enqueued_at - {step}.settled_at)::float8 end as parked
