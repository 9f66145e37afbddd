-- Delete the gates of maps of tasks. :ids text (JSON list)
delete from gate where task_id in (select value from json_each(:ids))
