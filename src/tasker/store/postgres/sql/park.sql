-- End an attempt that waits for a task. The task is locked before, so that it does not
-- end unnoticed meanwhile. :task_id uuid, :no int, :attempt int, :waits_for uuid, :over boolean
with parked as (
    update step
    set state = case when :over::boolean then 1 else 3 end,
        waits_for = case when :over then null else :waits_for::uuid end,
        run_at = now(), enqueued_at = now(), settled_at = now(),
        free_tries = free_tries + 1
    where task_id = :task_id::uuid and no = :no and attempt = :attempt and state = 2
    returning task_id, no, attempt, worker, claimed_at
)
insert into attempt (task_id, no, attempt, outcome, worker, claimed_at, settled_at)
select task_id, no, attempt, 7, worker, claimed_at, now() from parked
returning no
