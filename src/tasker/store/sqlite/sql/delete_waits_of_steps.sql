-- Delete what steps of a task wait for. :task_id text, :nos text (JSON list)
delete from wait where task_id = :task_id and no in (select value from json_each(:nos))
