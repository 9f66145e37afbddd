-- Delete what the steps of tasks wait for. :tasks text (JSON list)
delete from wait where task_id in (select value from json_each(:tasks))
