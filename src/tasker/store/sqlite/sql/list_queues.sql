-- Queues by id, beyond :after. :after int
select id as base, namespace, handler, requirement, gated from queue where id > :after order by id
