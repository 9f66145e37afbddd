-- Tasks of this settlement that are failing.
select id from task
where failing = 1 and state = 0 and id in (select task_id from temp.settled)
