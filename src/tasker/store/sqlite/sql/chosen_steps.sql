-- Steps of a task: those given, or all whose failure fails the task. :task_id text, :nos text (JSON list) or null
select no, name, {include instances_of step=s} as instances, template_node, state,
       s.state = {ERROR} and not {include unhandled step=s} as is_handled, exists (select 1 from json_each(s.on_error) where value = 0) as ends_task
from step s
where task_id = :task_id
  and (no in (select value from json_each(:nos)) or (:nos is null and state = {ERROR} and {include unhandled step=s}))
order by no
