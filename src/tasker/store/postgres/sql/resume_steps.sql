-- Put the steps of tasks back into their queues; a `queue_timeout` starts over. :tasks uuid[]
with entries as (
    update due d
    set queue_id = -d.queue_id, latest_claim = greatest(now(), d.run_at) + s.queue_timeout * interval '1 s'
    from step s
    where s.task_id = any (:tasks::uuid[]) and s.queue_id < 0 and {include due_entry entry=d step=s}
)
update step
set queue_id = -queue_id,
    enqueued_at = case when state = {ENQUEUED} then now() else enqueued_at end
where task_id = any (:tasks::uuid[]) and queue_id < 0
