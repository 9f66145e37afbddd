-- Put the steps of tasks back into their queues; a `queue_timeout` starts over. :tasks text (JSON list), :now real
update step
set queue_id = -queue_id,
    enqueued_at = case when state = {ENQUEUED} then :now else enqueued_at end
where task_id in (select value from json_each(:tasks)) and queue_id < 0
