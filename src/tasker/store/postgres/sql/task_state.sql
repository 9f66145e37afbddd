-- The state of a task, and whether any of its steps was ever claimed. :task_id uuid
select state, exists (select from step s where s.task_id = task.id and s.attempt > 0) as started
from task where id = :task_id::uuid
