-- Record an operator action. :task_id text, :no int or null, :actor, :action, :reason, :before, :after text, :via text, :bulk_id text, both or null, :now real
insert into audit (task_id, no, at, actor, action, reason, before, after, via, bulk_id)
values (:task_id, :no, :now, :actor, :action, :reason, :before, :after, :via, :bulk_id)
