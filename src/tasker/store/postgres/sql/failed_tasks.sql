-- Open tasks in which a step failed for good.
select id::text as id from task where has_failed_step and state = {OPEN}
