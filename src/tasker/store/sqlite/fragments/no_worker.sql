-- Whether a step is due and no live worker claims from its queue; not if its task is paused. :now real
({step}.state = {ENQUEUED} and {step}.queue_id > 0 and {step}.run_at <= :now and not exists (
    select 1 from worker w, json_each(w.queues) q where w.lease_until > :now and q.value = {step}.queue_id))
