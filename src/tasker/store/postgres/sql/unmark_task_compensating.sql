-- Let a task continue whose compensation has not begun: reverse mark_task_compensating. :task_id uuid
update task
set ending = null, error = null,
    open_sinks = open_sinks - case when open_sinks >= 1000000 then 1000000 else 0 end
where id = :task_id::uuid
