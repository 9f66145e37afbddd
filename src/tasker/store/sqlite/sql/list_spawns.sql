-- Spawns of a join by their first instances. :task_id text, :join_no int
select task_id, join_no, first_instance, instances, first_no, size, no, key
from spawn
where task_id = :task_id and join_no = :join_no
order by first_instance
