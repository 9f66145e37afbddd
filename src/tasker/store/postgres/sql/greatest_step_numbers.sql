-- The greatest numbers of steps of tasks. :tasks uuid[]
select t.id::text as task_id, coalesce((select max(s.no) from step s where s.task_id = t.id), 0) as no
from unnest(:tasks::uuid[]) as t (id)
