-- All queues.
select id, namespace, handler from queue order by id
