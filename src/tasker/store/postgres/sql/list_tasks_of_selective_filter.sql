-- As list_tasks, for filters that few tasks match: all of these are found first, and then sorted.
-- :counted int, as there. The lines of conditions that are null
-- are left out before it runs.
-- :templates int[] or null, :state int or null, :started boolean or null (of open tasks),
-- :correlation_id text, :parent_id uuid, :schedule_id int, :tag text, :created_by text,
-- :idempotency_key text, :failed_step text, :error_code text (of a failed step), :compensation text,
-- :attribute_name, :attribute_value text, :attributes text (JSON object, of further ones),
-- :created_after timestamptz, :created_before timestamptz, :first_id, :last_id uuid (which bound those), all or null; :after uuid or null,
-- :limit int
with chosen as (
    select * from (
        select * from task
        where true
          {include task_filter}
          and (:after::uuid is null or id < :after)
        offset 0   -- or the planner would read tasks in the order of their ids until enough match
    ) matching
    order by id desc
    limit :limit::int
)
{include tasks_with_step_counts}
order by chosen.id desc
