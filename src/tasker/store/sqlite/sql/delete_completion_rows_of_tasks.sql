-- Delete the rows of tasks. :ids text (JSON list)
delete from completion where task_id in (select value from json_each(:ids))
