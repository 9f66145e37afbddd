-- Let a task go on that was about to be compensated. :task_id text
update task
set ending = null, error = null,
    open_sinks = open_sinks - case when open_sinks >= 1000000 then 1000000 else 0 end
where id = :task_id
