-- Mark the tasks of which a step failed for good.
update task set failing = 1
where state = 0 and id in (select task_id from temp.settled where outcome = 2)
