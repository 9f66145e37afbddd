-- Delete the queues that a worker serves, so that it claims nothing more. :worker bigint
delete from worker_queue where worker = :worker::bigint
