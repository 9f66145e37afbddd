-- Reopen the end of a task that the failure of a step has counted down. :task_id text, :no int
update task
set open_sinks = open_sinks + (
    select count(*) from step s, json_each(s.on_error) c
    where s.task_id = :task_id and s.no = :no and s.state = {ERROR} and c.value = 0
)
where id = :task_id
