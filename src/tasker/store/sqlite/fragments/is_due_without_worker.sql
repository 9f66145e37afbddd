-- Whether a step is due and no live worker claims from its queue; not if its task is paused. :now real
({step}.state = {ENQUEUED} and {step}.queue_id > 0 and {step}.run_at <= :now and not exists (
    select 1 from worker_queue wq join worker w on w.id = wq.worker
    where wq.queue_id in ({step}.queue_id / 5 * 5, -({step}.queue_id / 5 * 5)) and w.lease_until > :now
))
