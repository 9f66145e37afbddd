-- Whether a freed child `s` is claimed for the settling {worker}.
s.pending_parents <= c.parents and c.rank <= p_claim and {include is_run_at_reached run_at=c.run_at} and {include worker_serves_queue queue=s.queue_id}
