-- Record the schedule and the ticks of new tasks. :id int, :tasks uuid[], :ticks timestamptz[]
update task t
set schedule_id = :id, scheduled_for = g.tick
from unnest(:tasks::uuid[], :ticks::timestamptz[]) as g (task_id, tick)
where t.id = g.task_id
