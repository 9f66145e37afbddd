-- End an attempt whose step waits; over: the wait has ended already.
-- :task_id uuid, :no int, :attempt int, :waits_for uuid or null (a task), :over boolean
with parked as (
    update step
    set state = case when :over::boolean then {ENQUEUED} else {WAITING} end,
        waits_for = case when :over then null else :waits_for::uuid end,
        run_at = now(), enqueued_at = now(), settled_at = now(), error = null,
        uncounted_attempts = uncounted_attempts + 1, lost_attempts = 0
    where task_id = :task_id::uuid and no = :no and attempt = :attempt and state = {IN_PROGRESS}
    returning *
), entries as (
    {include insert_due_rows steps=parked}
)
select no from parked
