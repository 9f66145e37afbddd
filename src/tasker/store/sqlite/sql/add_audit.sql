-- Record an operator action. :task_id text, :no int or null, :actor, :action, :reason, :before, :after text, :now real
insert into audit (task_id, no, at, actor, action, reason, before, after)
values (:task_id, :no, :now, :actor, :action, :reason, :before, :after)
