-- Open tasks of this settlement with a failed step.
select id from task
where has_failed_step = 1 and state = {OPEN} and id in (select task_id from temp.settled)
