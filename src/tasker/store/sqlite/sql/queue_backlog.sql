-- Steps by namespace and handler that are due, due later, and running; each queue and priority is counted up to :most. :most int, :now real
select q.namespace, q.handler, sum(q.due) as due, sum(q.scheduled) as scheduled, sum(q.running) as running
from (
    select queue.namespace, queue.handler, 0 as running,
           (select count(*) from (select 1 from step where queue_id = queue.id + p.priority and state = {ENQUEUED} and run_at <= :now limit :most)) as due,
           (select count(*) from (select 1 from step where queue_id = queue.id + p.priority and state = {ENQUEUED} and run_at > :now limit :most)) as scheduled
    from queue, (select 0 as priority union all select 1 union all select 2 union all select 3 union all select 4) p
    union all
    select queue.namespace, queue.handler, held.running, 0, 0
    from (select queue_id / 5 * 5 as id, count(*) as running from (select queue_id from step where state = {IN_PROGRESS} limit :most) group by 1) held
    join queue on queue.id = held.id
) q
group by q.namespace, q.handler
order by q.namespace, q.handler
