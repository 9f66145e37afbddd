-- End the steps of a task that have not ended, running ones included. :task_id uuid, :state int
with stopped as (
    update step set state = :state, settled_at = now()
    where task_id = :task_id::uuid and state in ({PENDING}, {ENQUEUED}, {IN_PROGRESS}, {WAITING})
    returning task_id, no, attempt, worker, enqueued_at, claimed_at,
              claimed_at is not null and attempt > 0 as ran
)
insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at)
select task_id, no, attempt, {OUTCOME.CANCELLED}, worker, enqueued_at, claimed_at, now() from stopped where ran
on conflict (task_id, no, attempt) do nothing
