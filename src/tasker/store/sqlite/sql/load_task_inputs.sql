-- Contexts and fields of tasks, for their workers. :ids text (JSON list)
select id, template_id, context, correlation_id, parent_id, trace, priority
from task where id in (select value from json_each(:ids))
