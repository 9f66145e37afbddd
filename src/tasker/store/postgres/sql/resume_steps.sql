-- Put the steps of tasks back into their queues; a `queue_timeout` starts over. :tasks uuid[]
update step
set queue_id = -queue_id,
    enqueued_at = case when state = {ENQUEUED} then now() else enqueued_at end
where task_id = any (:tasks::uuid[]) and queue_id < 0
