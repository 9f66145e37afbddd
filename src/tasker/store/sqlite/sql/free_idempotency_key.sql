-- Free the key that a task holds. :namespace text, :key text
delete from task_key where namespace = :namespace and key = :key
