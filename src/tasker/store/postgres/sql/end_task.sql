-- End an open task. :task_id uuid, :state int, :error text or null
update task
set state = :state, ended_at = clock_timestamp(),
    updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond'),
    has_failed_step = false, error = :error::text::json
where id = :task_id::uuid
