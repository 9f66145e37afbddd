-- Open a task again, without a deadline that has passed; has_failed_step stays set while any of its
-- steps is in error whose failure did not reach all of its children, and of a compensated task. :task_id uuid
update task
set state = {OPEN}, ended_at = null, error = null,
    updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond'),
    deadline = case when deadline > now() then deadline end,
    has_failed_step = ending is not null or exists (select from step s where s.task_id = task.id and s.state = {ERROR} and {include is_failure_unhandled step=s})
where id = :task_id::uuid
