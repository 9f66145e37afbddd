-- The number of signals to a task that no step has received. :task_id text
select count(*) as signals from signal where task_id = :task_id and taken_by is null
