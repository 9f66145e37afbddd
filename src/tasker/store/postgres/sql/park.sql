-- End an attempt that waits for a task. The task is locked before, so that it does not
-- end unnoticed in between. :task_id uuid, :no int, :attempt int, :waits_for uuid, :over boolean
with held as (
    select task_id, no, attempt, worker, enqueued_at, claimed_at from step
    where task_id = :task_id::uuid and no = :no and attempt = :attempt and state = {IN_PROGRESS}
    for update
), parked as (
    update step
    set state = case when :over::boolean then {ENQUEUED} else {WAITING} end,
        waits_for = case when :over then null else :waits_for::uuid end,
        run_at = now(), enqueued_at = now(), settled_at = now(), error = null,
        uncounted_attempts = step.uncounted_attempts + 1
    from held where step.task_id = held.task_id and step.no = held.no
    returning step.*
), entries as (
    {include enqueue steps=parked}
), kept as (
    insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at)
    select task_id, no, attempt, {OUTCOME.PARKED}, worker, enqueued_at, claimed_at, now() from held
)
select no, end_claims(array[worker], array[claimed_at]) from held
