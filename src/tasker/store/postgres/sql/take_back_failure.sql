-- Take a step's failure back from the children that still wait, or were cancelled, before it is retried or resolved.
-- :task_id uuid, :no int
update step s
set pending_parents = s.pending_parents + c.times, missed_parents = s.missed_parents - 1
from (
    select c.no, count(*)::int as times
    from step f cross join lateral unnest(f.on_error) as c (no)
    where f.task_id = :task_id::uuid and f.no = :no and f.state = {ERROR}
    group by c.no
) c
where c.no > 0 and s.task_id = :task_id::uuid and s.no = c.no and s.state in ({PENDING}, {CANCELLED})
returning s.no
