-- Add queues to those from which a worker claims. :worker int, :queues text (JSON list)
insert into worker_queue (worker, queue_id)
select :worker, value from json_each(:queues) where true
on conflict do nothing
