-- How many signals of a task no step has taken. :task_id uuid
select count(*)::int as signals from signal where task_id = :task_id::uuid and taken_by is null
