-- Lower what children wait for; enqueue or claim those that wait for nothing more.
-- :worker int or null, :queues text (JSON list), :claim_up_to int, :now real
update step
set unmet = step.unmet - c.parents,
    run_at = c.run_at,
    enqueued_at = :now,
    state = case when step.unmet > c.parents or step.state <> 0 then step.state
                 when c.rowid <= :claim_up_to and step.queue_id in (select value from json_each(:queues))
                 then 2 else 1 end,
    attempt = step.attempt + (step.unmet = c.parents and step.state = 0 and c.rowid <= :claim_up_to
                              and step.queue_id in (select value from json_each(:queues))),
    worker = case when step.unmet = c.parents and c.rowid <= :claim_up_to
                       and step.queue_id in (select value from json_each(:queues)) then :worker end,
    claimed_at = case when step.unmet = c.parents and c.rowid <= :claim_up_to
                           and step.queue_id in (select value from json_each(:queues)) then :now end
from temp.child c
where c.no > 0 and step.task_id = c.task_id and step.no = c.no
returning task_id, no, state
