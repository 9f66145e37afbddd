-- Enqueue the step that plans the compensation of each task. :tasks text (JSON list), :now real
insert into step (task_id, no, name, queue_id, pending_parents, children, state, run_at, enqueued_at, undoes)
select t.id, n.no, n.name, (n.queue_id + t.priority) * case when t.paused = 1 then -1 else 1 end, 0, '[]',
       {ENQUEUED}, :now + p.compensation_hold, :now, 0
from json_each(:tasks) as g
join task t on t.id = g.value
join template p on p.id = t.template_id
join template_step n on n.template_id = t.template_id and n.no = p.compensation_node
