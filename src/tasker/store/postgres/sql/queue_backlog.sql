-- Steps by namespace and handler that are due, due later, and running; of each queue :most are counted. :most int
select q.namespace, q.handler, sum(q.due)::bigint as due, sum(q.scheduled)::bigint as scheduled, sum(q.running)::bigint as running
from (
    select q.namespace, q.handler, c.due, c.scheduled, 0 as running
    from queue q
    cross join lateral (
        select count(*) filter (where s.run_at <= now()) as due, count(*) filter (where s.run_at > now()) as scheduled
        from (select run_at from step where queue_id >= q.id and queue_id < q.id + 5 and state = {ENQUEUED} limit :most::int) s
    ) c
    union all
    select namespace, handler, 0, 0, held.running
    from (select queue_id / 5 * 5 as id, count(*) as running from (select queue_id from step where state = {IN_PROGRESS} limit :most::int) s group by 1) held
    join queue using (id)
) q
group by q.namespace, q.handler
order by q.namespace, q.handler
