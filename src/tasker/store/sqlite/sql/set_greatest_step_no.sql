-- Record the greatest number of a step of a task. :task_id text, :last_no int
update task set last_no = :last_no where id = :task_id
