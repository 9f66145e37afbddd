-- The time at which an enqueued step has waited for as long as its `queue_timeout` says.
-- `step_queue_timeout` has the same expression.
max(enqueued_at, run_at) + queue_timeout
