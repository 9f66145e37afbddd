-- Steps by namespace and handler that are due, due later, and running; of each queue :most are counted. :most int, :now real
select q.namespace, q.handler, sum(q.due) as due, sum(q.scheduled) as scheduled, sum(q.running) as running
from (
    select queue.namespace, queue.handler, 0 as running,
           (select coalesce(sum(run_at <= :now), 0) from (select run_at from step where queue_id >= queue.id and queue_id < queue.id + 5 and state = {ENQUEUED} limit :most)) as due,
           (select coalesce(sum(run_at > :now), 0) from (select run_at from step where queue_id >= queue.id and queue_id < queue.id + 5 and state = {ENQUEUED} limit :most)) as scheduled
    from queue
    union all
    select queue.namespace, queue.handler, held.running, 0, 0
    from (select queue_id / 5 * 5 as id, count(*) as running from (select queue_id from step where state = {IN_PROGRESS} limit :most) group by 1) held
    join queue on queue.id = held.id
) q
group by q.namespace, q.handler
order by q.namespace, q.handler
