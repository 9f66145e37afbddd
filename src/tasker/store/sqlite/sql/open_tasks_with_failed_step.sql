-- Open tasks in which a step failed permanently.
select id from task indexed by task_has_failed_step where has_failed_step = 1 and state = {OPEN}
