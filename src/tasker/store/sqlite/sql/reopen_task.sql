-- Open a task again; it is failing while any of its steps is in error. :task_id text
update task
set state = 0, ended_at = null, error = null,
    failing = exists (select 1 from step s where s.task_id = task.id and s.state = 5)
where id = :task_id
