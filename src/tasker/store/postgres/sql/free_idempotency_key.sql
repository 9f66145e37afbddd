-- Take a key from the task that has it. :namespace text, :key text
delete from task_key where namespace = :namespace and key = :key
