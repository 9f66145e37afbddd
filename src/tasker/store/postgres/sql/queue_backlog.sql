-- Steps by namespace and handler that are due, due later, and running; each queue and priority is counted up to :most. :most int
select q.namespace, q.handler, sum(q.due)::bigint as due, sum(q.scheduled)::bigint as scheduled, sum(q.running)::bigint as running
from (
    select namespace, handler, 0 as running,
           (select count(*) from (select from step where queue_id = id + priority and state = {ENQUEUED} and run_at <= now() limit :most::int) s) as due,
           (select count(*) from (select from step where queue_id = id + priority and state = {ENQUEUED} and run_at > now() limit :most::int) s) as scheduled
    from queue, generate_series(0, 4) as priority
    union all
    select namespace, handler, held.running, 0, 0
    from (select queue_id / 5 * 5 as id, count(*) as running from (select queue_id from step where state = {IN_PROGRESS} limit :most::int) s group by 1) held
    join queue using (id)
) q
group by q.namespace, q.handler
order by q.namespace, q.handler
