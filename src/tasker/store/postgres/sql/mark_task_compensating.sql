-- Record how a task ends after its compensation. Steps in progress that succeed then no longer complete the task:
-- only `end_failed_tasks` ends it.
-- :task_id uuid, :state int, :error text or null
update task
set ending = :state, has_failed_step = true, error = :error::text::json, open_sinks = open_sinks + 1000000,
    updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
where id = :task_id::uuid
