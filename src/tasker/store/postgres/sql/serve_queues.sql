-- Record from which queues a worker claims. :worker bigint, :queues int[]
update worker set queues = :queues::int[] where id = :worker::bigint
