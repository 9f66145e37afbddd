-- Delete the rows of tasks. :ids text (JSON list)
delete from task_attribute where task_id in (select value from json_each(:ids))
