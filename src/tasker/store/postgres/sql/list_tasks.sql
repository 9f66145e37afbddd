-- Tasks with the counts of their steps, newest first. The lines of conditions that are null
-- are left out before it runs.
-- :templates int[] or null, :state int or null, :started boolean or null (of open tasks),
-- :correlation_id text, :parent_id uuid, :schedule_id int, :tag text, :created_by text,
-- :idempotency_key text, :failed_step text, :error_code text (of a failed step),
-- :attribute_name, :attribute_value text, :attributes text (JSON object, of further ones),
-- :created_after timestamptz, :created_before timestamptz, all or null; :after uuid or null,
-- :limit int
with chosen as (
    select * from task
    where true
      and (:templates::int[] is null or template_id = any (:templates))
      and (:state::int is null or state = :state::int)
      and (:started::boolean is null or :started = exists (select from step s where s.task_id = task.id and s.attempt > 0))
      and (:correlation_id::text is null or correlation_id = :correlation_id)
      and (:parent_id::uuid is null or parent_id = :parent_id)
      and (:schedule_id::int is null or schedule_id = :schedule_id)
      and (:tag::text is null or :tag = any (tags))
      and (:created_by::text is null or created_by = :created_by)
      and (:idempotency_key::text is null or idempotency_key = :idempotency_key)
      and (:failed_step::text is null or state not in ({COMPLETE}, {RESOLVED_MANUALLY}) and id in (select s.task_id from step s where s.error is not null and s.state = {ERROR} and s.name = :failed_step))
      and (:error_code::text is null or state not in ({COMPLETE}, {RESOLVED_MANUALLY}) and id in (select s.task_id from step s where s.error is not null and s.state = {ERROR} and left(s.error ->> 'code', 200) = :error_code))
      and (:attribute_name::text is null or id in (select a.task_id from task_attribute a where a.namespace in (select namespace from template) and a.name = :attribute_name and a.value = :attribute_value))
      and (:attributes::text is null or not exists (select from json_each_text(:attributes::json) w where not exists (select from task_attribute a where a.task_id = task.id and a.name = w.key and a.value = w.value)))
      and (:created_after::timestamptz is null or created_at >= :created_after)
      and (:created_before::timestamptz is null or created_at < :created_before)
      and (:after::uuid is null or id < :after)
    order by id desc
    limit :limit::int
)
{include task_rows}
order by chosen.id desc
