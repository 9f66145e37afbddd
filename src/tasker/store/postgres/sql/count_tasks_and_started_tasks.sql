-- How many tasks match a filter, at most the newest :most, and how many of these have started; lines as in list_tasks.
-- :templates int[] or null, :state int or null, :started boolean or null (of open tasks),
-- :correlation_id text, :parent_id uuid, :schedule_id int, :tag text, :created_by text,
-- :idempotency_key text, :failed_step text, :error_code text (of a failed step), :compensation text,
-- :attribute_name, :attribute_value text, :attributes text (JSON object, of further ones),
-- :created_after timestamptz, :created_before timestamptz, :first_id, :last_id uuid (which bound those), all or null;
-- :most int
select count(*) as tasks, count(*) filter (where started) as started from (
    select exists (select from step s where s.task_id = task.id and s.attempt > 0) as started
    from task
    where true
      {include task_filter}
    order by id desc
    limit :most::int
) counted
