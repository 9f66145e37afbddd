-- Extend a lease that still holds; no row when it expired. :worker int, :lease real (seconds), :now real
update worker set lease_until = :now + :lease
where id = :worker and lease_until > :now
returning id
