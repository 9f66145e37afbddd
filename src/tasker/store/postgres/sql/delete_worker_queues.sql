-- Let a worker claim from no queue. :worker bigint
delete from worker_queue where worker = :worker::bigint
