-- Let locked steps that the deadline of their task cancelled run or wait; with :held, outside their queues.
-- :task_id uuid, :nos int[], :held boolean
with revived as (
    update step
    set state = case when pending_parents <= 0 then {ENQUEUED} else {PENDING} end,
        run_at = case when pending_parents <= 0 then now() end,
        enqueued_at = case when pending_parents <= 0 then now() end,
        settled_at = null,
        queue_id = case when :held::boolean then -abs(queue_id) else queue_id end
    where ctid = any (array(select s.ctid from {include step_rows_by_number})) and state = {CANCELLED}
    returning *
), entries as (
    {include insert_due_rows steps=revived}
)
select no from revived
