-- Contexts and fields of tasks, for their workers. :ids uuid[]
select id::text, template_id, context::text, correlation_id, parent_id::text, trace, priority
from task where id = any (:ids::uuid[])
