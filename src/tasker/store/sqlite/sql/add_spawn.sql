-- Store a spawn. :task_id text, :join_no, :first_instance, :instances, :first_no, :size, :no int, :key text
insert into spawn (task_id, join_no, first_instance, instances, first_no, size, no, key)
values (:task_id, :join_no, :first_instance, :instances, :first_no, :size, :no, :key)
