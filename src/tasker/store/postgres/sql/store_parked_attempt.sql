-- Store the history of an attempt that is about to be parked. :task_id uuid, :no int, :attempt int
with held as (
    select task_id, no, attempt, worker, enqueued_at, claimed_at from step
    where task_id = :task_id::uuid and no = :no and attempt = :attempt and state = {IN_PROGRESS}
    for update
), kept as (
    insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at)
    select task_id, no, attempt, {OUTCOME.PARKED}, worker, enqueued_at, claimed_at, now() from held
)
select no, decrement_claim_batches(array[worker], array[claimed_at]) from held
