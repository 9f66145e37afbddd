-- Whether any open task has a failed step.
select exists (select 1 from task indexed by task_has_failed_step where has_failed_step = 1 and state = {OPEN})
