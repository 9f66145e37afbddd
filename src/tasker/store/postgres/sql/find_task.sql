-- The task that holds a key. :namespace text, :key text
select task_id::text as task_id from task_key where namespace = :namespace and key = :key
