-- Take a step's failure back from the children that still wait, or were cancelled, before it is retried or resolved.
-- :task_id text, :no int
update step
set pending_parents = step.pending_parents + c.times, missed_parents = step.missed_parents - 1
from (
    select c.value as no, count(*) as times
    from step s, json_each(s.on_error) c
    where s.task_id = :task_id and s.no = :no and s.state = {ERROR}
    group by c.value
) c
where c.no > 0 and step.task_id = :task_id and step.no = c.no and step.state in ({PENDING}, {CANCELLED})
returning step.no
