-- Whether the compensation of a task has begun; no row if the task has none. :task_id text
select exists (select 1 from step c where c.task_id = t.id and c.undoes = 0 and c.attempt > 0) as begun
from task t where t.id = :task_id and t.ending is not null
