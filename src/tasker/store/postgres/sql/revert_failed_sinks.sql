-- Count the failed steps of a task among its open sinks again. :task_id uuid, :nos int[]
update task
set open_sinks = open_sinks + c.times
from (
    select count(*)::int as times from {include step_rows_by_number}
    cross join lateral unnest(s.on_error) as c (no)
    where s.state = {ERROR} and c.no = 0
) c
where id = :task_id::uuid and c.times > 0
