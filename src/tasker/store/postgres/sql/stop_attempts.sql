-- Lock the steps of a task that stop_steps.sql is about to end, and keep the history of those
-- that run. :task_id uuid
with open as (
    select task_id, no, state, attempt, worker, enqueued_at, claimed_at
    from step
    where task_id = :task_id::uuid and state in ({PENDING}, {ENQUEUED}, {IN_PROGRESS}, {WAITING})
    order by no
    for update
), kept as (
    insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at)
    select task_id, no, attempt, {OUTCOME.CANCELLED}, worker, enqueued_at, claimed_at, clock_timestamp()
    from open
    where state = {IN_PROGRESS}
)
select end_claims(array_agg(worker), array_agg(claimed_at)) from open where state = {IN_PROGRESS}
