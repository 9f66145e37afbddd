-- Reopen a task, without a deadline that has passed; has_failed_step stays set while any of its
-- steps is in error whose failure did not reach all of its children, and of a compensated task. :task_id text, :now real
update task
set state = {OPEN}, ended_at = null, error = null, updated_at = max(:now, coalesce(updated_at + 1e-6, 0)),
    deadline = case when deadline > :now then deadline end,
    has_failed_step = ending is not null or exists (select 1 from step s where s.task_id = task.id and s.state = {ERROR} and {include is_failure_unhandled step=s})
where id = :task_id
