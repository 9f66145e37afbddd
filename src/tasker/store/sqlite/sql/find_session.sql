-- A login that has neither expired nor been idle for too long. :digest text, :idle real (seconds), :now real
select *
from session
where digest = :digest and expires_at > :now and seen_at > :now - :idle
