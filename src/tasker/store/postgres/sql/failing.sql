-- Open tasks in which a step failed for good.
select id from task where failing and state = 0
