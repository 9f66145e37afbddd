-- The steps of a task that are in progress. :task_id text
select no from step
where task_id = :task_id and +state = {IN_PROGRESS}
order by no
