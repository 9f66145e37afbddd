-- Whether a step is due and no live worker claims from its queue.
({step}.state = {ENQUEUED} and {step}.run_at <= now() and not exists (
    select from worker w where w.lease_until > now() and {step}.queue_id = any(w.queues)))
