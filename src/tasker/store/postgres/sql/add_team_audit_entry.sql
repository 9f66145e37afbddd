-- Add an entry to the team audit log. :namespace text or null, :subject, :actor, :action, :reason text,
-- :before, :after text (JSON) or null, :via text or null
insert into team_event (namespace, subject, actor, action, reason, before, after, via)
values (:namespace, :subject, :actor, :action, :reason, :before::text::json, :after::text::json, :via)
