-- Count the failed steps of a task among its open sinks again. :task_id text, :nos text (JSON list)
update task
set open_sinks = open_sinks + c.times
from (
    select count(*) as times from step s, json_each(s.on_error) c
    where s.task_id = :task_id and s.no in (select value from json_each(:nos)) and s.state = {ERROR} and c.value = 0
) c
where id = :task_id and c.times > 0
