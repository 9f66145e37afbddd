-- Undo the arrivals of failed steps at children that still wait or were cancelled, before the steps are retried or
-- resolved. :task_id uuid, :nos int[]
update step c
set pending_parents = c.pending_parents + e.times, missed_parents = c.missed_parents - e.failures
from (
    select e.no, count(*)::int as times, count(distinct s.no)::int as failures
    from {include step_rows_by_number}
    cross join lateral unnest(s.on_error) as e (no)
    where s.state = {ERROR} and e.no > 0
    group by e.no
) e
where c.task_id = :task_id::uuid and c.no = e.no and c.state in ({PENDING}, {CANCELLED})
