-- The steps of a task up to the number :counted that have not ended. :task_id uuid, :counted int
select no from step
where task_id = :task_id::uuid and no <= :counted::int and state in ({PENDING}, {ENQUEUED}, {IN_PROGRESS}, {WAITING})
order by no
