-- One task with the counts of its steps. :task_id uuid
select t.id::text, p.namespace, p.name, p.version, t.state, t.context::text, t.correlation_id,
       t.parent_id::text, t.idempotency_key, t.created_by, t.reason, t.tags, t.created_at,
       t.ended_at, t.deadline, t.error::text, c.*
from task t
join template p on p.id = t.template_id
cross join lateral (
    select count(*) filter (where s.state = 0) as pending,
           count(*) filter (where s.state = 1 and (s.attempt = 0 or s.run_at <= now())) as enqueued,
           count(*) filter (where s.state = 1 and s.attempt > 0 and s.run_at > now()) as waiting_for_retry,
           count(*) filter (where s.state = 2) as in_progress,
           count(*) filter (where s.state = 3) as waiting,
           count(*) filter (where s.state = 4) as complete,
           count(*) filter (where s.state = 5) as error,
           count(*) filter (where s.state = 6) as cancelled,
           count(*) filter (where s.state = 7) as skipped,
           count(*) filter (where s.state = 8) as resolved_manually,
           coalesce(bool_or(s.attempt > 0), false) as started
    from step s where s.task_id = t.id
) c
where t.id = :task_id::uuid
