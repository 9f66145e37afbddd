-- Reactivate the steps that the deadline of their task cancelled. :task_id text, :now real
update step
set state = case when pending_parents <= 0 then {ENQUEUED} else {PENDING} end,
    run_at = case when pending_parents <= 0 then :now end,
    enqueued_at = case when pending_parents <= 0 then :now end,
    settled_at = null
where task_id = :task_id and state = {CANCELLED}
returning no
