-- Whether a step is due and no live worker claims from its queue; not if its task is paused.
({step}.state = {ENQUEUED} and {step}.queue_id > 0 and {step}.run_at <= now() and not exists (
    select from worker w where w.lease_until > now() and {step}.queue_id = any(w.queues)))
