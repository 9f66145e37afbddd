-- Undo the arrivals of failed steps at children that still wait or were cancelled, before the steps are retried or
-- resolved. :task_id text, :nos text (JSON list)
update step
set pending_parents = step.pending_parents + e.times, missed_parents = step.missed_parents - e.failures
from (
    select c.value as no, count(*) as times, count(distinct s.no) as failures
    from step s, json_each(s.on_error) c
    where s.task_id = :task_id and s.no in (select value from json_each(:nos)) and s.state = {ERROR} and c.value > 0
    group by c.value
) e
where step.task_id = :task_id and step.no = e.no and step.state in ({PENDING}, {CANCELLED})
