-- The triage of causes of failures. :fingerprints text[]
select fingerprint, namespace, assignee, note, muted_until, muted_below, updated_by, updated_at
from failure_triage
where fingerprint = any (:fingerprints::text[])
