-- How many signals of a task no step has taken. :task_id text
select count(*) as signals from signal where task_id = :task_id and taken_by is null
