-- One spawn of a step. :task_id text, :no int, :key text
select first_no, first_instance, instances from spawn
where task_id = :task_id and no = :no and key = :key
