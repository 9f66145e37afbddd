-- Tasks with the counts of their steps, newest first.
-- :templates int[] or null, :state int or null, :started boolean or null (of open tasks),
-- :correlation_id text, :parent_id uuid, :tag text, :created_by text,
-- :created_after timestamptz, :created_before timestamptz, all or null; :after uuid or null,
-- :limit int
select t.id::text, p.namespace, p.name, p.version, t.state, t.context::text, t.correlation_id,
       t.parent_id::text, t.idempotency_key, t.created_by, t.reason, t.tags, t.created_at,
       t.ended_at, t.deadline, t.error::text, c.*
from (
    select * from task
    where (:templates::int[] is null or template_id = any (:templates))
      and (:state::int is null or state = :state)
      and (:started::boolean is null or :started = exists (
              select from step s where s.task_id = task.id and s.attempt > 0))
      and (:correlation_id::text is null or correlation_id = :correlation_id)
      and (:parent_id::uuid is null or parent_id = :parent_id)
      and (:tag::text is null or :tag = any (tags))
      and (:created_by::text is null or created_by = :created_by)
      and (:created_after::timestamptz is null or created_at >= :created_after)
      and (:created_before::timestamptz is null or created_at < :created_before)
      and (:after::uuid is null or id < :after)
    order by id desc
    limit :limit::int
) t
join template p on p.id = t.template_id
cross join lateral (
    select count(*) filter (where s.state = {PENDING}) as pending,
           count(*) filter (where s.state = {ENQUEUED} and (s.attempt = 0 or s.run_at <= now())) as enqueued,
           count(*) filter (where s.state = {ENQUEUED} and s.attempt > 0 and s.run_at > now()) as waiting_for_retry,
           count(*) filter (where s.state = {IN_PROGRESS}) as in_progress,
           count(*) filter (where s.state = {WAITING}) as waiting,
           count(*) filter (where s.state = {COMPLETE}) as complete,
           count(*) filter (where s.state = {ERROR}) as error,
           count(*) filter (where s.state = {CANCELLED}) as cancelled,
           count(*) filter (where s.state = {SKIPPED}) as skipped,
           count(*) filter (where s.state = {RESOLVED_MANUALLY}) as resolved_manually,
           coalesce(bool_or(s.attempt > 0), false) as started
    from step s where s.task_id = t.id
) c
order by t.id desc
