-- Begin an attempt without a worker, whose outcome is settled at once; it fences off a running attempt. :task_id
-- uuid, :no int
with entry as (
    delete from due d using step s
    where s.task_id = :task_id::uuid and s.no = :no and {include due_row_matches_step entry=d step=s}
)
update step
set state = {IN_PROGRESS}, attempt = attempt + 1, worker = null, claimed_at = now(), waits_for = null,
    run_at = least(run_at, now())    -- its children inherit it, and must not wait for a retry
where task_id = :task_id::uuid and no = :no
returning attempt
