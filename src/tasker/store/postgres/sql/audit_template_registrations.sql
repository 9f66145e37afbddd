-- Record registrations of templates in the audit log of teams.
-- :actor, :reason text, :via text or null, :registrations text (JSON list of {namespace, subject, before: status or null, after: status})
insert into team_event (namespace, subject, actor, action, reason, before, after, via)
select r.namespace, r.subject, :actor, 'register_template', :reason, to_json(r.before), to_json(r.after), :via
from json_to_recordset(:registrations::text::json) as r (namespace text, subject text, before text, after text)
