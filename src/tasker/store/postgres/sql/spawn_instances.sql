-- See functions/spawn_instances.sql.
select first_no, first_instance, instances
from spawn_instances(:task_id::uuid, :no, :attempt, :key, :join_no, :spawner, :body, :instances, :begin, :items::text[],
           :delay, :most)
