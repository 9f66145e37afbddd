-- Lower the children's pending_parents; enqueue or claim those that reach 0.
-- :worker int or null, :claim_up_to int, :now real
update step
set pending_parents = step.pending_parents - c.parents,
    run_at = c.run_at,
    enqueued_at = :now,
    state = case when step.pending_parents > c.parents then {PENDING}
                 when {include is_claimed_for_settling_worker} then {IN_PROGRESS} else {ENQUEUED} end,
    attempt = step.attempt + ({include is_claimed_for_settling_worker}),
    worker = case when {include is_claimed_for_settling_worker} then :worker end,
    claimed_at = case when {include is_claimed_for_settling_worker} then :now end
from temp.child c
where c.no > 0 and step.task_id = c.task_id and step.no = c.no and +step.state = {PENDING}
returning task_id, no, state
