-- Let steps that the deadline of their task cancelled run or wait; with :held, outside their queues.
-- :task_id text, :nos text (JSON list), :held int, :now real
update step
set state = case when pending_parents <= 0 then {ENQUEUED} else {PENDING} end,
    run_at = case when pending_parents <= 0 then :now end,
    enqueued_at = case when pending_parents <= 0 then :now end,
    settled_at = null,
    queue_id = case when :held then -abs(queue_id) else queue_id end
where task_id = :task_id and no in (select value from json_each(:nos)) and +state = {CANCELLED}
