-- Store the history of the attempt that begin_attempt_without_worker.sql is about to overwrite: a running one, which
-- ends, or a first success. :task_id uuid, :no int
with kept as (
    insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at)
    select task_id, no, attempt, case state when {COMPLETE} then {OUTCOME.COMPLETE} else {OUTCOME.CANCELLED} end,
           worker, enqueued_at, claimed_at, case state when {COMPLETE} then settled_at else now() end
    from step
    where task_id = :task_id::uuid and no = :no and (state = {IN_PROGRESS} or {include succeeded_at_first_attempt step=step})
)
select decrement_claim_batches(array[worker], array[claimed_at]) from step
where task_id = :task_id::uuid and no = :no and state = {IN_PROGRESS}
