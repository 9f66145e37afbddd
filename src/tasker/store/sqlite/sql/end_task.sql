-- End an open task. :task_id text, :state int, :error text or null, :now real
update task
set state = :state, ended_at = :now, updated_at = max(:now, coalesce(updated_at + 1e-6, 0)),
    has_failed_step = 0, error = :error
where id = :task_id
