-- Spawns of tasks by their joins and first instances. :tasks text (JSON list)
select task_id, join_no, first_instance, instances, first_no, size, no, key
from spawn
where task_id in (select value from json_each(:tasks))
order by task_id, join_no, first_instance
