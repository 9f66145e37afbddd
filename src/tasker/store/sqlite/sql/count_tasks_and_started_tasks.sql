-- How many tasks match a filter, at most the newest :most, and how many of these have started; lines as in list_tasks.
-- :templates text (JSON list) or null, :state int or null, :started int or null (of open tasks),
-- :correlation_id, :parent_id, :tag, :created_by, :idempotency_key, :failed_step,
-- :error_code (of a failed step), :compensation, :attribute_name, :attribute_value text,
-- :attributes text (JSON object, of further ones), :schedule_id int, :created_after, :created_before real,
-- :first_id, :last_id text (which bound those), all or null;
-- :most int
select count(*) as tasks, count(*) filter (where started) as started from (
    select exists (select 1 from step s where s.task_id = task.id and s.attempt > 0) as started
    from task
    where true
      {include task_filter}
    order by id desc
    limit :most
) counted
