-- Tasks with the counts of their steps, newest first. The lines of conditions that are null
-- are left out before it runs, or SQLite would use no index for the others.
-- :templates text (JSON list) or null, :state int or null, :started int or null (of open tasks),
-- :correlation_id, :parent_id, :tag, :created_by, :idempotency_key, :failed_step,
-- :error_code (of a failed step) text, :created_after, :created_before real, all or null;
-- :after text or null, :limit int, :now real
with chosen as materialized (
    select * from task
    where true
      and (:templates is null or template_id in (select value from json_each(:templates)))
      and (:state is null or state = :state)
      and (:started is null or :started = exists (select 1 from step s where s.task_id = task.id and s.attempt > 0))
      and (:correlation_id is null or correlation_id = :correlation_id)
      and (:parent_id is null or parent_id = :parent_id)
      and (:tag is null or exists (select 1 from json_each(task.tags) where value = :tag))
      and (:created_by is null or created_by = :created_by)
      and (:idempotency_key is null or idempotency_key = :idempotency_key)
      and (:failed_step is null or state not in ({COMPLETE}, {RESOLVED_MANUALLY}) and exists (select 1 from step s where s.task_id = task.id and s.state = {ERROR} and s.name = :failed_step))
      and (:error_code is null or state not in ({COMPLETE}, {RESOLVED_MANUALLY}) and exists (select 1 from step s where s.task_id = task.id and s.state = {ERROR} and json_extract(s.error, '$.code') = :error_code))
      and (:created_after is null or created_at >= :created_after)
      and (:created_before is null or created_at < :created_before)
      and (:after is null or id < :after)
    order by id desc
    limit :limit
)
{include task_rows}
order by chosen.id desc
