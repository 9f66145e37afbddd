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
           sum(s.state = 0) as pending,
           sum(s.state = 1 and (s.attempt = 0 or s.run_at <= :now)) as enqueued,
           sum(s.state = 1 and s.attempt > 0 and s.run_at > :now) as waiting_for_retry,
           sum(s.state = 2) as in_progress,
           sum(s.state = 3) as waiting,
           sum(s.state = 4) as complete,
           sum(s.state = 5) as error,
           sum(s.state = 6) as cancelled,
           sum(s.state = 7) as skipped,
           sum(s.state = 8) as resolved_manually,
           max(s.attempt) > 0 as started
    from step s where s.task_id = :task_id
    group by s.task_id
) c on c.task_id = t.id
where t.id = :task_id
