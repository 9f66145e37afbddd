-- Delete the durable calls of steps. :task_id text, :nos text (JSON list)
delete from durable_call where task_id = :task_id and no in (select value from json_each(:nos))
