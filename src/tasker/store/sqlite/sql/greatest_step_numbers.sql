-- The greatest numbers of steps of tasks. :tasks text (JSON list)
select t.value as task_id, coalesce((select max(s.no) from step s where s.task_id = t.value), 0) as no
from json_each(:tasks) t
