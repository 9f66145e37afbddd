-- Record an operator's act. :task_id uuid, :no int or null, :actor, :action, :reason, :before, :after text
insert into audit (task_id, no, actor, action, reason, before, after)
values (:task_id::uuid, :no, :actor, :action, :reason, :before, :after)
