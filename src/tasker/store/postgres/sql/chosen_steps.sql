-- Given steps of a task. :task_id uuid, :nos int[]
select s.no, s.name, s.undoes, {include instances_of step=s} as instances, s.template_node, s.state,
       s.state = {ERROR} and not {include failure_reaches_task step=s} as is_handled, coalesce(0 = any (s.on_error), false) as ends_task
from {include numbered_steps}
order by s.no
