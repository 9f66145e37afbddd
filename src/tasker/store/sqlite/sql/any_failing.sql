-- Whether any open task is failing.
select exists (select 1 from task indexed by task_failing where failing = 1 and state = 0)
