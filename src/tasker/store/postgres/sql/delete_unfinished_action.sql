-- End an action on the steps of tasks, or call the rest of it off. :tasks uuid[], :kind text
delete from paged_action where task_id = any (:tasks::uuid[]) and kind = :kind
