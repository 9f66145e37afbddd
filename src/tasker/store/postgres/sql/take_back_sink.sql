-- Reopen the end of a task that the failure of a step has counted down. :task_id uuid, :no int
update task
set open_sinks = open_sinks + (
    select count(*) from step s cross join lateral unnest(s.on_error) as c (no)
    where s.task_id = :task_id::uuid and s.no = :no and s.state = {ERROR} and c.no = 0
)
where id = :task_id::uuid
