-- Queues from which a worker claims limited steps. :worker int
select -queue_id from worker_queue where worker = :worker and queue_id < 0
except {include paused_queues}
