-- The next steps of a task that were cancelled. :task_id text, :last_no, :until, :limit int
select no from step
where task_id = :task_id and no > :last_no and no <= :until and +state = {CANCELLED}
order by no
limit :limit
