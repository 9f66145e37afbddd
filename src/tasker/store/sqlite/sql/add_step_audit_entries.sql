-- Add an operator's action on steps to the audit log of their task.
-- :task_id text, :nos text (JSON list), :actor, :action, :reason, :before, :after text, :via text, :bulk_id text,
-- both or null, :now real
insert into audit (task_id, no, at, actor, action, reason, before, after, via, bulk_id)
select :task_id, value, :now, :actor, :action, :reason, :before, :after, :via, :bulk_id
from json_each(:nos)
