-- Add queues to those from which a worker claims. :worker bigint, :queues int[]
insert into worker_queue (worker, queue_id)
select :worker::bigint, queue from unnest(:queues::int[]) as queue
on conflict do nothing
