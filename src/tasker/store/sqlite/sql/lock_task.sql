-- Tell the state of a task. :task_id text
select state, exists (select 1 from step s where s.task_id = task.id and s.attempt > 0)
from task where id = :task_id
