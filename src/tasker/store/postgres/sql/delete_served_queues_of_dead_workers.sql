-- Delete the queues served by workers whose lease expired more than an hour ago; rows that others are deleting are
-- skipped.
delete from worker_queue where ctid = any (array(
    select q.ctid from worker w join worker_queue q on q.worker = w.id
    where w.lease_until < now() - interval '1 hour'
    for update of q skip locked
))
