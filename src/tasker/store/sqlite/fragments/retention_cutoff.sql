-- Ended tasks of the template {template} that ended before this instant are deleted; null: none.
-- :now, :ended_before real
coalesce(:now - {template}.retention, :ended_before)
