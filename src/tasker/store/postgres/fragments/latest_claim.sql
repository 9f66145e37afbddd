-- The time in UTC at which an enqueued step has waited for as long as its `queue_timeout` says.
-- `step_queue_timeout` has the same expression, which may not depend on the time zone.
greatest(enqueued_at, run_at) at time zone 'UTC' + queue_timeout * interval '1 s'
