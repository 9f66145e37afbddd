-- Free the key of a task. :namespace text, :key text
delete from task_key where namespace = :namespace and key = :key
