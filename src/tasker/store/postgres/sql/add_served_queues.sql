-- Add queues to those from which a worker claims, unless it is drained. :worker bigint, :queues int[]
insert into worker_queue (worker, queue_id)
select :worker::bigint, case when q.gated then -q.id else q.id end
from unnest(:queues::int[]) as served (id) join queue q on q.id = served.id
where not exists (select from worker where id = :worker::bigint and quiet)
on conflict do nothing
