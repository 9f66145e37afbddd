-- Serve the queues of the engine that no live worker of their namespace serves. :worker int, :now real
insert into worker_queue (worker, queue_id)
select :worker, q.id
from queue q
where q.handler = 'tasker.engine' and not {include has_engine_worker queue=q.id}
on conflict do nothing
