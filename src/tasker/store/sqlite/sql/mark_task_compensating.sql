-- Record how a task ends after its compensation. Steps in progress that succeed then no longer complete the task:
-- only `end_failed_tasks` ends it.
-- :task_id text, :state int, :error text or null, :now real
update task
set ending = :state, has_failed_step = 1, error = :error, open_sinks = open_sinks + 1000000,
    updated_at = max(:now, coalesce(updated_at + 1e-6, 0))
where id = :task_id
