-- Steps of a task by number; with :unfinished, those that are not done. :unfinished boolean or null,
-- :task_id text, :after int, :limit int or null, :now real
select {include instance_path step=s} as instances, s.template_node, s.spawned_by, s.instance, s.undoes, s.task_id, s.no, s.name, s.state, s.attempt,
       s.attempt - s.uncounted_attempts as counted_attempts, s.lost_attempts, s.enqueued_at, s.run_at, s.claimed_at, s.settled_at,
       coalesce(w.name, cast(s.worker as text)) as worker, s.result, s.error, s.checkpoint, s.pending_parents,
       {include is_due_without_worker step=s} as no_worker, s.queue_id,
       case when s.state = {ENQUEUED} and s.queue_id > 0 and s.run_at <= :now and q.gated then s.gate_id end as gate_id,
       s.outer_gate_id,
       case when s.state in ({PENDING}, {ENQUEUED}, {WAITING}) then (
           select {include pause_json} from pause
           where {include pause_applies_to_task task=s.task_id template=p}
              or pause.name = q.handler and pause.kind = 'queue' and pause.namespace = q.namespace
           order by pause.kind
           limit 1
       ) end as pause,
       s.waits_for,
       case when s.state = {WAITING} and s.waits_for is null then {include waits_json step=s} end as waits,
       case when s.state = {WAITING} and s.waits_for is null then (
           select min(w.wake_at) from wait w where w.task_id = s.task_id and w.no = s.no
       ) end as waits_until
from step s
join task t on t.id = s.task_id
join template p on p.id = t.template_id
left join queue q on q.id = abs(s.queue_id) / 5 * 5
left join worker w on w.id = s.worker
where s.task_id = :task_id and s.no > :after
      and (:unfinished is null or s.state in ({PENDING}, {ENQUEUED}, {IN_PROGRESS}, {WAITING}, {ERROR}))
order by s.no
limit coalesce(:limit, -1)
