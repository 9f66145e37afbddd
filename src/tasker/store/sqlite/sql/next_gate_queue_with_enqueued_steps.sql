-- The next queue of this or a later gate that has enqueued steps, and when its first step is due.
-- :outer_gate int, :gate int, :queue int: begin after these
select outer_gate_id, gate_id, queue_id, run_at from step
where gate_id is not null and state = {ENQUEUED} and (outer_gate_id, gate_id, queue_id) > (:outer_gate, :gate, :queue)
order by outer_gate_id, gate_id, queue_id, run_at
limit 1
