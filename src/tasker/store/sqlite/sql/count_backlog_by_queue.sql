-- Steps by namespace and handler that are due, due later, running, and paused; of each queue :most
-- are counted. :most int, :now real
select q.namespace, q.handler, max(q.weight) as weight,
       sum(case when q.queue_paused then 0 else q.due end) as due,
       sum(case when q.queue_paused then 0 else q.scheduled end) as scheduled,
       sum(q.running) as running,
       sum(case when q.queue_paused then q.due + q.scheduled else 0 end + q.of_paused_tasks) as paused
from (
    select queue.namespace, queue.handler, queue.weight, 0 as running, {include is_queue_paused queue=queue} as queue_paused,
           (select coalesce(sum(run_at <= :now), 0) from (select run_at from step where queue_id >= queue.id and queue_id < queue.id + 5 and state = {ENQUEUED} limit :most)) as due,
           (select coalesce(sum(run_at > :now), 0) from (select run_at from step where queue_id >= queue.id and queue_id < queue.id + 5 and state = {ENQUEUED} limit :most)) as scheduled,
           (select count(*) from (select 1 from step where queue_id <= -queue.id and queue_id > -queue.id - 5 and state = {ENQUEUED} limit :most)) as of_paused_tasks
    from queue
    union all
    select queue.namespace, queue.handler, queue.weight, running.steps, 0, 0, 0, 0
    from (select abs(queue_id) / 5 * 5 as id, count(*) as steps from (select queue_id from step where state = {IN_PROGRESS} limit :most) group by 1) running
    join queue on queue.id = running.id
) q
group by q.namespace, q.handler
order by q.namespace, q.handler
