-- Steps of a task: those given, or all whose failure fails the task. :task_id text, :nos text (JSON list) or null
select no, name, {include instances_of step=s} as instances, template_node, state
from step s
where task_id = :task_id
  and (no in (select value from json_each(:nos)) or (:nos is null and state = {ERROR} and {include unhandled step=s}))
order by no
