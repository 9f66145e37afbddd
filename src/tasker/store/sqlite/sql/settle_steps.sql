-- Record what the attempts led to. :now real
update step
set state = case g.outcome when 0 then 4 when 2 then 5 when 6 then 8 else 1 end,
    run_at = case when g.outcome in (1, 3, 4) then :now + g.delay else step.run_at end,
    uncounted_attempts = step.uncounted_attempts + (g.outcome = 4),
    settled_at = :now,
    result = g.result,
    error = g.error
from temp.settled g
where step.task_id = +g.task_id and step.no = +g.no   -- the signs keep the scan on `settled`
