-- Delete the rows of tasks. :ids text (JSON list)
delete from spawn where task_id in (select value from json_each(:ids))
