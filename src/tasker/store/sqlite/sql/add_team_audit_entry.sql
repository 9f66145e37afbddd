-- Add an entry to the team audit log. :namespace text or null, :subject, :actor, :action, :reason text,
-- :before, :after text (JSON) or null, :via text or null, :now real
insert into team_event (at, namespace, subject, actor, action, reason, before, after, via)
values (:now, :namespace, :subject, :actor, :action, :reason, :before, :after, :via)
