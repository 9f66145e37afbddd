-- Whether a live worker claims from the queue {queue}.
exists (
    select 1 from worker_queue wq join worker w on w.id = wq.worker
    where wq.queue_id in ({queue} / 5 * 5, -({queue} / 5 * 5)) and w.lease_until > now()
)
