-- Let the enqueued among {steps}, rows of `step`, be claimed.
insert into due (queue_id, run_at, task_id, no, latest_claim)
select queue_id, run_at, task_id, no, greatest(enqueued_at, run_at) + queue_timeout * interval '1 s'
from {steps}
where state = {ENQUEUED}
