-- Whether any of these tasks has a template that declares compensations. :tasks text (JSON list)
select exists (
    select 1 from task t join template p on p.id = t.template_id
    where t.id in (select value from json_each(:tasks)) and p.compensation_node is not null
)
