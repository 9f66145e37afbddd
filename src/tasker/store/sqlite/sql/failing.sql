-- Open tasks in which a step failed for good.
select id from task indexed by task_failing where failing = 1 and state = 0
