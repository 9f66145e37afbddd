-- Add queues to those from which a worker claims, unless it is drained. :worker int, :queues text (JSON list)
insert into worker_queue (worker, queue_id)
select :worker, case when q.gated then -q.id else q.id end
from json_each(:queues) as served join queue q on q.id = served.value
where not exists (select 1 from worker where id = :worker and quiet)
on conflict do nothing
