-- The tasks in `chosen`, with the counts of their steps up to the number :counted, and how many there may be beyond.
select chosen.id::text as id, p.namespace, p.name, p.version, chosen.state, chosen.context,
       chosen.correlation_id, chosen.parent_id::text as parent_id, chosen.idempotency_key,
       chosen.schedule_id, chosen.scheduled_for,
       chosen.created_by, chosen.reason, chosen.tags, chosen.created_at, chosen.ended_at,
       chosen.deadline, chosen.error, chosen.title, chosen.priority,
       case when chosen.ending is null then null when chosen.state = {OPEN} then 'running'
            when {include is_compensation_incomplete task=chosen} then 'incomplete' else 'complete' end as compensation,
       coalesce((select json_object_agg(a.name, a.value order by a.name) from task_attribute a where a.task_id = chosen.id)::text, '{}') as attributes,
       (select json_agg({include pause_json} order by pause.kind) from pause
        where {include pause_applies_to_task task=chosen.id template=p})::text as pauses,
       greatest(chosen.created_at, chosen.updated_at, chosen.ended_at, c.changed_at) as updated_at,
       c.any_started or c.uncounted_steps > 0 and exists (select from step s where s.task_id = chosen.id and s.attempt > 0) as started,
       case when c.due_steps = 0 then 0 else (   -- asked once for each queue
           select coalesce(sum(g.steps), 0)::int from (
               select s.state, s.queue_id, max(s.run_at) as run_at, count(*) as steps from step s
               where s.task_id = chosen.id and s.no <= :counted::int and s.state = {ENQUEUED} and s.run_at <= now()
               group by s.state, s.queue_id
           ) g
           where {include is_due_without_worker step=g}
       ) end as steps_without_worker,
       c.*
from chosen
join template p on p.id = chosen.template_id
cross join lateral (
    select count(*) filter (where s.state = {PENDING}) as pending_steps,
           count(*) filter (where s.state = {ENQUEUED} and (s.attempt = 0 or s.run_at <= now())) as enqueued_steps,
           count(*) filter (where s.state = {ENQUEUED} and s.attempt > 0 and s.run_at > now() and s.error is not null) as steps_waiting_for_retry,
           count(*) filter (where s.state = {IN_PROGRESS}) as steps_in_progress,
           count(*) filter (where s.state = {WAITING} or {include is_sleeping step=s}) as waiting_steps,
           count(*) filter (where s.state = {COMPLETE}) as complete_steps,
           count(*) filter (where s.state = {ERROR}) as failed_steps,
           count(*) filter (where s.state = {CANCELLED}) as cancelled_steps,
           count(*) filter (where s.state = {SKIPPED}) as skipped_steps,
           count(*) filter (where s.state = {RESOLVED_MANUALLY}) as resolved_steps,
           count(*) filter (where s.state = {ENQUEUED} and s.run_at <= now()) as due_steps,
           sum(s.attempt)::int as attempts,
           max(greatest(s.enqueued_at, s.claimed_at, s.settled_at)) as changed_at,
           coalesce(sum(s.pending_parents), 0)::bigint as parents_to_come,
           coalesce(bool_or(s.attempt > 0), false) as any_started,
           (select greatest(max(u.no) - :counted::int, 0) from step u where u.task_id = chosen.id) as uncounted_steps
    from step s where s.task_id = chosen.id and s.no <= :counted::int
) c
