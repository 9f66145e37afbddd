-- End an action on the steps of tasks, or call the rest of it off. :tasks text (JSON list), :kind text
delete from paged_action where task_id in (select value from json_each(:tasks)) and kind = :kind
