-- The first steps of a queue of a gate: those that are due, then those that will be due next. :outer_gate int, :gate int, :queue int, :limit int
select task_id, no, run_at, queue_id from step
where gate_id is not null and state = {ENQUEUED}
  and outer_gate_id = :outer_gate and gate_id = :gate and queue_id = :queue
order by {include claim_order step=step}
limit :limit
