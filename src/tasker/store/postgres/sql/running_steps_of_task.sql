-- The steps of a task that are in progress. :task_id uuid
select no from step
where task_id = :task_id::uuid and state = {IN_PROGRESS}
order by no
