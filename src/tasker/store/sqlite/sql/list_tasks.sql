-- Tasks with the counts of their steps, newest first. The lines of conditions that are null
-- are left out before it runs, or SQLite would use no index for the others.
-- :templates text (JSON list) or null, :state int or null, :started int or null (of open tasks),
-- :correlation_id, :parent_id, :tag, :created_by text, :created_after, :created_before real, all or null;
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
      and (:created_after is null or created_at >= :created_after)
      and (:created_before is null or created_at < :created_before)
      and (:after is null or id < :after)
    order by id desc
    limit :limit
)
select t.id, p.namespace, p.name, p.version, t.state, t.context, t.correlation_id,
       t.parent_id, t.idempotency_key, t.created_by, t.reason, t.tags, t.created_at,
       t.ended_at, t.deadline, t.error,
       c.pending, c.enqueued, c.waiting_for_retry, c.in_progress, c.waiting, c.complete,
       c.error, c.cancelled, c.skipped, c.resolved_manually, c.started
from chosen t
join template p on p.id = t.template_id
join (
    select s.task_id,
           sum(s.state = {PENDING}) as pending,
           sum(s.state = {ENQUEUED} and (s.attempt = 0 or s.run_at <= :now)) as enqueued,
           sum(s.state = {ENQUEUED} and s.attempt > 0 and s.run_at > :now) as waiting_for_retry,
           sum(s.state = {IN_PROGRESS}) as in_progress,
           sum(s.state = {WAITING}) as waiting,
           sum(s.state = {COMPLETE}) as complete,
           sum(s.state = {ERROR}) as error,
           sum(s.state = {CANCELLED}) as cancelled,
           sum(s.state = {SKIPPED}) as skipped,
           sum(s.state = {RESOLVED_MANUALLY}) as resolved_manually,
           max(s.attempt) > 0 as started
    from step s where s.task_id in (select id from chosen)
    group by s.task_id
) c on c.task_id = t.id
order by t.id desc
