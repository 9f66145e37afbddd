-- The queues that a worker serves. :worker bigint
select distinct q.namespace, q.handler, q.requirement
from worker_queue w join queue q on q.id = w.queue_id
where w.worker = :worker
order by q.namespace, q.handler, q.requirement
