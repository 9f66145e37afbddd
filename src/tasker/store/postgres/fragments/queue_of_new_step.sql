-- The queue of the step `s` of a new task `g`; its negative if the task is born paused.
case when g.template_id = any (v_paused_templates) then -s.queue_id - g.priority else s.queue_id + g.priority end
