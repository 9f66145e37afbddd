-- Mark a worker as draining; no row if its lease has expired. :worker bigint
update worker set quiet = true where id = :worker and lease_until > now()
returning name
