-- Record from which queues a worker claims. :worker int, :queues text (JSON list)
update worker set queues = :queues where id = :worker
