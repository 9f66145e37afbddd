-- No longer serve queues of the engine that a live worker of their namespace serves. :worker bigint
delete from worker_queue where worker = :worker and {include has_engine_worker queue=worker_queue.queue_id}
