-- The task of a signal. :task_id text
select t.state, exists (select 1 from step s where s.task_id = t.id and s.attempt > 0) as started
from task t where t.id = :task_id
