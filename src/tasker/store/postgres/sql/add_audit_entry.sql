-- Add an operator's action to the audit log of a task. :task_id uuid, :no int or null, :actor, :action, :reason,
-- :before, :after text, :via text, :bulk_id uuid, both or null
insert into audit (task_id, no, actor, action, reason, before, after, via, bulk_id)
values (:task_id::uuid, :no, :actor, :action, :reason, :before, :after, :via, :bulk_id::uuid)
