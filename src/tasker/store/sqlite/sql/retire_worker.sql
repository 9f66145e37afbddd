-- End a worker's lease. :worker int, :now real
update worker set lease_until = :now, idle = 0 where id = :worker and lease_until > :now
