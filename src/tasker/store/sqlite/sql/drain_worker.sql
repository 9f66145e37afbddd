-- Mark a worker as draining; no row if its lease has expired. :worker int, :now real
update worker set quiet = 1 where id = :worker and lease_until > :now
returning name
