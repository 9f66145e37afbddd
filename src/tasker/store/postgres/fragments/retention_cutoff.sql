-- Ended tasks of the template {template} that ended before this instant are deleted; null: none.
-- :ended_before timestamptz
coalesce(now() - {template}.retention * interval '1 s', :ended_before::timestamptz)
