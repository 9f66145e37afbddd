-- Whether a freed child is claimed for the settling worker.
step.pending_parents <= c.parents and c.rowid <= :claim_up_to and {include is_run_at_reached run_at=c.run_at} and {include worker_serves_queue queue=step.queue_id}
