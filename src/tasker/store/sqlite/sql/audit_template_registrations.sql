-- Record registrations of templates in the audit log of teams.
-- :actor, :reason text, :via text or null, :registrations text (JSON list of {namespace, subject, before: status or null, after: status}),
-- :now real
insert into team_event (at, namespace, subject, actor, action, reason, before, after, via)
select :now, json_extract(r.value, '$.namespace'), json_extract(r.value, '$.subject'), :actor, 'register_template', :reason,
       nullif(r.value -> '$.before', 'null'), r.value -> '$.after', :via
from json_each(:registrations) as r
