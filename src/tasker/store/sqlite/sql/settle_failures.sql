-- Mark tasks with a step that failed for good.
update task set has_failed_step = 1
where state = {OPEN} and id in (select task_id from temp.settled where outcome = {OUTCOME.ERROR})
