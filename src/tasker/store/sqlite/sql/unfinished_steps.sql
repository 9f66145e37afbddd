-- The steps of a task up to the number :counted that have not ended. :task_id text, :counted int
select no from step
where task_id = :task_id and no <= :counted and +state in ({PENDING}, {ENQUEUED}, {IN_PROGRESS}, {WAITING})
order by no
