-- End a worker's lease. :worker bigint
update worker set lease_until = now(), idle = false where id = :worker and lease_until > now()
