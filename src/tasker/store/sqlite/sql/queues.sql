-- All queues.
select id, namespace, handler, requirement, gated from queue order by id
