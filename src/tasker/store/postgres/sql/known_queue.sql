-- A queue of a handler. :namespace, :handler text
select id from queue where namespace = :namespace and handler = :handler limit 1
