-- Queues that are not paused, from which no live worker claims, and whose next step has been due for a while, the longest
-- due first. :now, :longer_than real (seconds), :limit int
with recursive priority (no) as (select 0 union all select no + 1 from priority where no < 4),
head as (
    select q.id, (
        select max(s.enqueued_at, s.run_at)
        from step s indexed by step_due
        where s.queue_id = q.id + p.no and s.state = {ENQUEUED} and s.run_at <= :now
        order by {include claim_order step=s}
        limit 1
    ) as due
    from queue q cross join priority p
    where not {include is_queue_paused queue=q} and not {include has_live_worker queue=q.id}
)
select q.id as base, q.namespace, q.handler, q.requirement, q.gated, :now - min(head.due) as seconds
from head join queue q on q.id = head.id
where head.due is not null
group by q.id
having min(head.due) < :now - :longer_than
order by seconds desc
limit :limit
