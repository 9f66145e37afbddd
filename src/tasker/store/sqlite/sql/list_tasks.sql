-- Tasks with the counts of their steps, newest first. The lines of conditions that are null
-- are left out before it runs, or SQLite would use no index for the others.
-- :templates text (JSON list) or null, :state int or null, :started int or null (of open tasks),
-- :correlation_id, :parent_id, :tag, :created_by, :idempotency_key, :failed_step,
-- :error_code (of a failed step), :attribute_name, :attribute_value text,
-- :attributes text (JSON object, of further ones), :schedule_id int, :created_after, :created_before real, all or null;
-- :after text or null, :limit int, :now real
with chosen as materialized (
    select * from task
    where true
      and (:templates is null or template_id in (select value from json_each(:templates)))
      and (:state is null or state = :state)
      and (:started is null or :started = exists (select 1 from step s where s.task_id = task.id and s.attempt > 0))
      and (:correlation_id is null or correlation_id = :correlation_id)
      and (:parent_id is null or parent_id = :parent_id)
      and (:schedule_id is null or schedule_id = :schedule_id)
      and (:tag is null or exists (select 1 from json_each(task.tags) where value = :tag))
      and (:created_by is null or created_by = :created_by)
      and (:idempotency_key is null or idempotency_key = :idempotency_key)
      and (:failed_step is null or state not in ({COMPLETE}, {RESOLVED_MANUALLY}) and id in (select s.task_id from step s where s.state = {ERROR} and s.name = :failed_step))
      and (:error_code is null or state not in ({COMPLETE}, {RESOLVED_MANUALLY}) and id in (select s.task_id from step s where s.state = {ERROR} and json_extract(s.error, '$.code') = :error_code))
      and (:attribute_name is null or id in (select a.task_id from task_attribute a where a.namespace in (select namespace from template) and a.name = :attribute_name and a.value = :attribute_value))
      and (:attributes is null or not exists (select 1 from json_each(:attributes) w where not exists (select 1 from task_attribute a where a.task_id = task.id and a.name = w.key and a.value = w.value)))
      and (:created_after is null or created_at >= :created_after)
      and (:created_before is null or created_at < :created_before)
      and (:after is null or id < :after)
    order by id desc
    limit :limit
)
{include task_rows}
order by chosen.id desc
