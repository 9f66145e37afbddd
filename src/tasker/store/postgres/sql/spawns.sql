-- Spawns of tasks by their joins and first instances. :tasks uuid[]
select task_id::text as task_id, join_no, first_instance, instances, first_no, size, no, key
from spawn
where task_id = any (:tasks::uuid[])
order by task_id, join_no, first_instance
