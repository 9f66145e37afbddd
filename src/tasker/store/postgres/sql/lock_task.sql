-- Lock a task and tell its state. :task_id uuid
select state, exists (select from step s where s.task_id = task.id and s.attempt > 0)
from task where id = :task_id::uuid for update
