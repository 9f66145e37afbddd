-- Let the steps run, or wait, that the deadline of their task cancelled. :task_id uuid
with revived as (
    update step
    set state = case when pending_parents <= 0 then {ENQUEUED} else {PENDING} end,
        run_at = case when pending_parents <= 0 then now() end,
        enqueued_at = case when pending_parents <= 0 then now() end,
        settled_at = null
    where task_id = :task_id::uuid and state = {CANCELLED}
    returning *
), entries as (
    {include enqueue steps=revived}
)
select no from revived
