-- The weight of a handler's queues. :namespace, :handler text
select weight from queue where namespace = :namespace and handler = :handler order by id limit 1
