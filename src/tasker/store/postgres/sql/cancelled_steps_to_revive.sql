-- The next steps of a task that were cancelled. :task_id uuid, :last_no, :until, :limit int
select no from step
where task_id = :task_id::uuid and no > :last_no::int and no <= :until::int and state = {CANCELLED}
order by no
limit :limit::int
