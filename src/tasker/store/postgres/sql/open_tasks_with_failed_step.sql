-- Open tasks in which a step failed permanently.
select id::text as id from task where has_failed_step and state = {OPEN}
