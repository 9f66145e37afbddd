-- Let the enqueued among {steps}, rows of `step`, be claimed.
insert into due (queue_id, run_at, task_id, no, latest_claim, gate_id, outer_gate_id)
select queue_id, run_at, task_id, no, greatest(enqueued_at, run_at) + queue_timeout * interval '1 s', gate_id, outer_gate_id
from {steps}
where state = {ENQUEUED}
