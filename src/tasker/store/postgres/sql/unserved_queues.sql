-- Queues that are not paused, from which no live worker claims, and whose next step has been due for a while, the longest
-- due first. :longer_than float8 (seconds), :limit int
select q.id as base, q.namespace, q.handler, q.requirement, q.gated,
       extract(epoch from now() - min(h.due))::float8 as seconds
from queue q
cross join generate_series(q.id, q.id + 4) as own (id)
cross join lateral (
    select greatest(s.enqueued_at, s.run_at) as due
    from (
        select d.task_id, d.no from due d
        where d.queue_id = own.id and d.run_at <= now()
        order by {include claim_order step=d}
        limit 1
    ) d
    join step s on s.task_id = d.task_id and s.no = d.no
) h
where not {include is_queue_paused queue=q}
  and not {include has_live_worker queue=q.id}
group by q.id
having min(h.due) < now() - :longer_than::float8 * interval '1 s'
order by seconds desc
limit :limit::int
