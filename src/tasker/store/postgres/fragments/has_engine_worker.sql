-- Whether a live worker with handlers or templates, not a server, serves the engine's queue {queue}.
exists (
    select from worker_queue o join worker w on w.id = o.worker
    where o.queue_id = {queue} and w.lease_until > now() and w.handlers <> array['tasker.engine']
)
