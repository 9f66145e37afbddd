-- Begin an attempt without a worker, whose outcome is settled at once; it fences off a running attempt. :task_id
-- text, :no int, :now real
update step
set state = {IN_PROGRESS}, attempt = attempt + 1, worker = null, claimed_at = :now, waits_for = null,
    run_at = min(run_at, :now)    -- its children inherit it, and must not wait for a retry
where task_id = :task_id and no = :no
returning attempt
