-- The tasks that hold these keys. :namespace text, :keys text (JSON list)
select key, task_id from task_key
where namespace = :namespace and key in (select value from json_each(:keys))
