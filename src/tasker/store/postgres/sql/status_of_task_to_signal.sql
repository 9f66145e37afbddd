-- The task of a signal. :task_id uuid
select t.state, exists (select from step s where s.task_id = t.id and s.attempt > 0) as started
from task t where t.id = :task_id::uuid
