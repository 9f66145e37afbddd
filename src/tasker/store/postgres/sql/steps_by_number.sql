-- Given steps of a task. :task_id uuid, :nos int[]
select s.no, s.name, s.undoes, {include instance_path step=s} as instances, s.template_node, s.state,
       s.state = {ERROR} and not {include is_failure_unhandled step=s} as is_handled, coalesce(0 = any (s.on_error), false) as ends_task
from {include step_rows_by_number}
order by s.no
