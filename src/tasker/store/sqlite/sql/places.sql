-- Open tasks of a key, oldest first. :namespace, :key text
select task_id, tasks, waiting from task_place
where namespace = :namespace and key = :key and ended = 0
order by task_id
