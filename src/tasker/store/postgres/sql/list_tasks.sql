-- Tasks with the counts of their steps, newest first.
-- :templates int[] or null, :state int or null, :started boolean or null (of open tasks),
-- :correlation_id text, :parent_id uuid, :tag text, :created_by text,
-- :idempotency_key text, :failed_step text, :error_code text (of a failed step),
-- :created_after timestamptz, :created_before timestamptz, all or null; :after uuid or null,
-- :limit int
with chosen as (
    select * from task
    where (:templates::int[] is null or template_id = any (:templates))
      and (:state::int is null or state = :state)
      and (:started::boolean is null or :started = exists (
              select from step s where s.task_id = task.id and s.attempt > 0))
      and (:correlation_id::text is null or correlation_id = :correlation_id)
      and (:parent_id::uuid is null or parent_id = :parent_id)
      and (:tag::text is null or :tag = any (tags))
      and (:created_by::text is null or created_by = :created_by)
      and (:idempotency_key::text is null or idempotency_key = :idempotency_key)
      and (:failed_step::text is null or state not in ({COMPLETE}, {RESOLVED_MANUALLY}) and exists (
              select from step s
              where s.task_id = task.id and s.state = {ERROR} and s.name = :failed_step))
      and (:error_code::text is null or state not in ({COMPLETE}, {RESOLVED_MANUALLY}) and exists (
              select from step s
              where s.task_id = task.id and s.state = {ERROR} and s.error->>'code' = :error_code))
      and (:created_after::timestamptz is null or created_at >= :created_after)
      and (:created_before::timestamptz is null or created_at < :created_before)
      and (:after::uuid is null or id < :after)
    order by id desc
    limit :limit::int
)
{include task_rows}
order by chosen.id desc
