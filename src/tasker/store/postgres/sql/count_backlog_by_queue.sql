-- Steps by namespace and handler that are due, due later, running, and paused; of each queue :most
-- are counted. :most int
select q.namespace, q.handler, max(q.weight)::float8 as weight, sum(q.due)::bigint as due, sum(q.scheduled)::bigint as scheduled,
       sum(q.running)::bigint as running, sum(q.paused)::bigint as paused
from (
    select q.namespace, q.handler, q.weight, 0 as running,
           case when queue_paused then 0 else c.due end as due,
           case when queue_paused then 0 else c.scheduled end as scheduled,
           case when queue_paused then c.due + c.scheduled else 0 end + t.paused as paused
    from queue q
    cross join lateral (select {include is_queue_paused queue=q} as queue_paused) p
    cross join lateral (
        select count(*) filter (where s.run_at <= now()) as due, count(*) filter (where s.run_at > now()) as scheduled
        from (
            select run_at from due
            where queue_id = any (array[q.id, q.id + 1, q.id + 2, q.id + 3, q.id + 4])   -- its priorities
            limit :most::int
        ) s
    ) c
    cross join lateral (
        select count(*) as paused
        from (
            select from due
            where queue_id = any (array[-q.id, -q.id - 1, -q.id - 2, -q.id - 3, -q.id - 4])
            limit :most::int
        ) s
    ) t
    union all
    select namespace, handler, weight, running.steps, 0, 0, 0
    from (select abs(queue_id) / 5 * 5 as id, count(*) as steps from (select s.queue_id from claim_batch b {include steps_of_claim_batch batch=b step=s} limit :most::int) s group by 1) running
    join queue using (id)
) q
group by q.namespace, q.handler
order by q.namespace, q.handler
