-- Tasks of this settlement with a failed step.
select id from task
where has_failed_step = 1 and state = 0 and id in (select task_id from temp.settled)
