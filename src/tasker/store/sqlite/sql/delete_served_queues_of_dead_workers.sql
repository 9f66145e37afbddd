-- Delete the queues served by workers whose lease expired more than an hour ago. :now real
delete from worker_queue where worker in (select id from worker where lease_until < :now - 3600)
