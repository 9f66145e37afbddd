-- As list_tasks, for filters that few tasks match: all of these are found first, and then sorted.
-- :counted int, as there. The lines of conditions that are null
-- are left out before it runs, or SQLite would use no index for the others.
-- :templates text (JSON list) or null, :state int or null, :started int or null (of open tasks),
-- :correlation_id, :parent_id, :tag, :created_by, :idempotency_key, :failed_step,
-- :error_code (of a failed step), :compensation, :attribute_name, :attribute_value text,
-- :attributes text (JSON object, of further ones), :schedule_id int, :created_after, :created_before real,
-- :first_id, :last_id text (which bound those), all or null;
-- :after text or null, :limit int, :now real
with chosen as materialized (
    select * from (
        select * from task
        where true
          {include task_filter}
          and (:after is null or id < :after)
        limit -1
    ) matching
    order by id desc
    limit :limit
)
{include tasks_with_step_counts}
order by chosen.id desc
