-- The tasks that hold these keys. :namespace text, :keys text[]
select key, task_id::text as task_id from task_key
where namespace = :namespace and key = any (:keys::text[])
