-- Add an operator's action on steps to the audit log of their task.
-- :task_id uuid, :nos int[], :actor, :action, :reason, :before, :after text, :via text, :bulk_id uuid, both or null
insert into audit (task_id, no, actor, action, reason, before, after, via, bulk_id)
select :task_id::uuid, n.no, :actor, :action, :reason, :before, :after, :via, :bulk_id::uuid
from unnest(:nos::int[]) as n (no)
