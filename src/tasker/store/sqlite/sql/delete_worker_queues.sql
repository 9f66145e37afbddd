-- Let a worker claim from no queue. :worker int
delete from worker_queue where worker = :worker
