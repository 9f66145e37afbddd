-- The number of signals to a task that no step has received. :task_id uuid
select count(*)::int as signals from signal where task_id = :task_id::uuid and taken_by is null
