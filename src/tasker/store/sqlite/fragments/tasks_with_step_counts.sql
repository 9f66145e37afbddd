-- The tasks in `chosen`, with the counts of their steps up to the number :counted, and how many there may be beyond.
-- :counted int, :now real
select chosen.id, p.namespace, p.name, p.version, chosen.state, chosen.context,
       chosen.correlation_id, chosen.parent_id, chosen.idempotency_key,
       chosen.schedule_id, chosen.scheduled_for,
       chosen.created_by, chosen.reason, chosen.tags, chosen.created_at, chosen.ended_at,
       chosen.deadline, chosen.error, chosen.title, chosen.priority,
       case when chosen.ending is null then null when chosen.state = {OPEN} then 'running'
            when {include is_compensation_incomplete task=chosen} then 'incomplete' else 'complete' end as compensation,
       (select json_group_object(a.name, a.value) from task_attribute a where a.task_id = chosen.id) as attributes,
       (select json_group_array({include pause_json}) from pause
        where {include pause_applies_to_task task=chosen.id template=p}) as pauses,
       max(chosen.created_at, coalesce(chosen.updated_at, 0), coalesce(chosen.ended_at, 0), c.changed_at) as updated_at,
       c.any_started or c.uncounted_steps > 0 and exists (select 1 from step s where s.task_id = chosen.id and s.attempt > 0) as started,
       case when c.due_steps = 0 then 0 else (   -- asked once for each queue
           select coalesce(sum(g.steps), 0) from (
               select s.state, s.queue_id, max(s.run_at) as run_at, count(*) as steps from step s
               where s.task_id = chosen.id and s.no <= :counted and +s.state = {ENQUEUED} and s.run_at <= :now
               group by s.state, s.queue_id
           ) g
           where {include is_due_without_worker step=g}
       ) end as steps_without_worker,
       c.*
from chosen
join template p on p.id = chosen.template_id
join (
    select s.task_id,
           sum(s.state = {PENDING}) as pending_steps,
           sum(s.state = {ENQUEUED} and (s.attempt = 0 or s.run_at <= :now)) as enqueued_steps,
           sum(s.state = {ENQUEUED} and s.attempt > 0 and s.run_at > :now and s.error is not null) as steps_waiting_for_retry,
           sum(s.state = {IN_PROGRESS}) as steps_in_progress,
           sum(s.state = {WAITING} or {include is_sleeping step=s}) as waiting_steps,
           sum(s.state = {COMPLETE}) as complete_steps,
           sum(s.state = {ERROR}) as failed_steps,
           sum(s.state = {CANCELLED}) as cancelled_steps,
           sum(s.state = {SKIPPED}) as skipped_steps,
           sum(s.state = {RESOLVED_MANUALLY}) as resolved_steps,
           sum(s.state = {ENQUEUED} and s.run_at <= :now) as due_steps,
           sum(s.attempt) as attempts,
           max(max(coalesce(s.enqueued_at, 0), coalesce(s.claimed_at, 0), coalesce(s.settled_at, 0))) as changed_at,
           sum(s.pending_parents) as parents_to_come,
           max(s.attempt) > 0 as any_started,
           (select max(max(u.no) - :counted, 0) from step u where u.task_id = s.task_id) as uncounted_steps
    from step s where s.task_id in (select id from chosen) and s.no <= :counted
    group by s.task_id
) c on c.task_id = chosen.id
