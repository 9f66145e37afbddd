-- Extend the leases that are still valid; one row for each. The others expired, perhaps while this waited
-- for their rows, which are locked in the order of their ids. :workers bigint[], :lease float (seconds)
update worker w set lease_until = now() + :lease * interval '1 s'
from (
    select id from worker where id = any (:workers::bigint[]) order by id for update
) as locked
where w.id = locked.id and w.lease_until > clock_timestamp()
returning w.id, w.quiet
