-- Return steps that the engine has released to the queue of their handler.
update step
set queue_id = (coalesce(b.own_queue_id, b.queue_id) + abs(step.queue_id) % 5) * case when step.queue_id < 0 then -1 else 1 end
from temp.settled g
join task t on t.id = g.task_id
join template_step b on b.template_id = t.template_id
where g.to_handler = 1 and step.task_id = +g.task_id and step.no = +g.no
  and b.no = coalesce(step.template_node, step.no)
