-- Steps of a task: those given, or all that failed. :task_id text, :nos text (JSON list) or null
select no, name, state
from step
where task_id = :task_id
  and (no in (select value from json_each(:nos)) or (:nos is null and state = {ERROR}))
order by no
