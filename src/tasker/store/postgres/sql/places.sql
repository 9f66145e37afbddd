-- Open tasks of a key, oldest first. :namespace, :key text
select task_id::text as task_id, tasks, waiting from task_place
where namespace = :namespace and key = :key and not ended
order by task_id
