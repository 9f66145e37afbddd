-- Delete the stored rest of an action on the steps of tasks. :tasks uuid[], :kind text
delete from paged_action where task_id = any (:tasks::uuid[]) and kind = :kind
