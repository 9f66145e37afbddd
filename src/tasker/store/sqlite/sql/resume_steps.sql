-- Undo pause_steps.sql: put steps back into their queues; a `queue_timeout` starts over.
-- :steps text (JSON list of [task, number]), :now real
update step
set queue_id = -queue_id,
    enqueued_at = case when state = {ENQUEUED} then :now else enqueued_at end
from (select json_extract(value, '$[0]') as task_id, json_extract(value, '$[1]') as no from json_each(:steps)) l
where step.task_id = l.task_id and step.no = l.no
