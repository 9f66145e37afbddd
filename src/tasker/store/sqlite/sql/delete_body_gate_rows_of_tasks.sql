-- Delete the gates of steps made at run time. :ids text (JSON list)
delete from body_gate where task_id in (select value from json_each(:ids))
