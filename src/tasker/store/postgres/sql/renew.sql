-- Extend a lease that still holds; no row when it expired, perhaps while this waited for the row.
-- :worker bigint, :lease float (seconds)
update worker set lease_until = now() + :lease * interval '1 s'
where id = :worker and lease_until > clock_timestamp()
returning id
