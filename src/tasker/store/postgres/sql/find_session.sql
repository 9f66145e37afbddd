-- A login that has neither expired nor been idle for too long. :digest text, :idle float (seconds)
select *
from session
where digest = :digest and expires_at > now() and seen_at > now() - :idle::float8 * interval '1 second'
