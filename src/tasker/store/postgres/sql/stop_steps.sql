-- End the steps of a task that have not ended, running ones included. :task_id uuid, :state int
with entries as (
    delete from due d using step s
    where s.task_id = :task_id::uuid and {include due_entry entry=d step=s}
)
update step set state = :state, settled_at = clock_timestamp(), waits_for = null
where task_id = :task_id::uuid and state in ({PENDING}, {ENQUEUED}, {IN_PROGRESS}, {WAITING})
