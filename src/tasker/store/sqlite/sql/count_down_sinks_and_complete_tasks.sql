-- Count down the sinks of tasks; a task without open ones is complete. :now real
update task
set open_sinks = open_sinks - c.parents,
    state = case when open_sinks = c.parents then {COMPLETE} else state end,
    ended_at = case when open_sinks = c.parents then :now end
from temp.child c
where c.no = 0 and task.id = c.task_id and task.state = {OPEN}
returning id, state
