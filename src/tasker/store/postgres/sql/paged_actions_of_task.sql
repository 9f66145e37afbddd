-- The actions on a task that have steps left to change. :task_id uuid
select kind, last_no, details from paged_action where task_id = :task_id::uuid order by kind desc
