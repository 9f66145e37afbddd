-- See functions/spawn.sql.
select first_no, first_instance, instances
from spawn(:task_id::uuid, :no, :attempt, :key, :join_no, :spawner, :body, :instances, :begin, :items::text[],
           :delay, :most)
