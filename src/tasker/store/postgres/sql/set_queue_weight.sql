-- Set the weight of a handler's queues. :namespace, :handler text, :weight float8
update queue set weight = :weight::float8 where namespace = :namespace and handler = :handler
