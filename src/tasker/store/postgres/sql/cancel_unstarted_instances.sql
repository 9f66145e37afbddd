-- Cancel the steps of a range that have not started. :task_id uuid, :first_no, :last_no int
with cancelled as (
    update step
    set state = {CANCELLED}, settled_at = now()
    where task_id = :task_id::uuid and no in (
        select no from step
        where task_id = :task_id::uuid and no between :first_no and :last_no and state in ({PENDING}, {ENQUEUED})
        order by no
        for update skip locked
    )
    returning task_id, no, queue_id, run_at
), entries as (
    delete from due d using cancelled c
    where d.queue_id = c.queue_id and d.run_at = c.run_at and d.task_id = c.task_id and d.no = c.no
)
select count(*)::int as steps from cancelled
