-- Steps of a task: those given, or all whose failure fails the task. :task_id uuid, :nos int[] or null
select no, name, {include instances_of step=s} as instances, template_node, state,
       s.state = {ERROR} and not {include unhandled step=s} as is_handled, coalesce(0 = any (s.on_error), false) as ends_task
from step s
where task_id = :task_id::uuid
  and (no = any (:nos::int[]) or (:nos is null and state = {ERROR} and {include unhandled step=s}))
order by no
