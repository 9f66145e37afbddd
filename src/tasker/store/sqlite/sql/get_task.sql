-- One task with the counts of its steps. :task_id text, :now real
select t.id, p.namespace, p.name, p.version, t.state, t.context, t.correlation_id,
       t.parent_id, t.idempotency_key, t.created_by, t.reason, t.tags, t.created_at,
       t.ended_at, t.deadline, t.error,
       c.pending, c.enqueued, c.waiting_for_retry, c.in_progress, c.waiting, c.complete,
       c.error, c.cancelled, c.skipped, c.resolved_manually, c.started
from task t
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
    from step s where s.task_id = :task_id
    group by s.task_id
) c on c.task_id = t.id
where t.id = :task_id
