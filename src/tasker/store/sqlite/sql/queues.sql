-- All queues.
select id as base, namespace, handler, requirement, gated from queue order by id
