-- Take the steps of tasks out of their queues. :tasks uuid[]
with entries as (
    update due d set queue_id = -d.queue_id
    from step s
    where s.task_id = any (:tasks::uuid[]) and s.queue_id > 0 and {include due_entry entry=d step=s}
)
update step set queue_id = -queue_id
where task_id = any (:tasks::uuid[]) and queue_id > 0
