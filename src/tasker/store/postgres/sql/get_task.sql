-- One task with the counts of its steps. :task_id uuid
select t.id::text, p.namespace, p.name, p.version, t.state, t.context::text, t.correlation_id,
       t.parent_id::text, t.idempotency_key, t.created_by, t.reason, t.tags, t.created_at,
       t.ended_at, t.deadline, t.error::text, c.*
from task t
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
where t.id = :task_id::uuid
