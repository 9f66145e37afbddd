-- Extend a lease that still holds; no row when it expired. :worker bigint, :lease float (seconds)
update worker set lease_until = now() + :lease * interval '1 s'
where id = :worker and lease_until > now()
returning id
