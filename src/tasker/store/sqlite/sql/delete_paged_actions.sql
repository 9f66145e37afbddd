-- Delete the stored rest of an action on the steps of tasks. :tasks text (JSON list), :kind text
delete from paged_action where task_id in (select value from json_each(:tasks)) and kind = :kind
