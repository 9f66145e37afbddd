-- Set the weight of a handler's queues. :namespace, :handler text, :weight real
update queue set weight = :weight where namespace = :namespace and handler = :handler
