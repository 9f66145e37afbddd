-- The template of a task, and whether the steps of the task are out of their queues. :task_id text
select t.namespace, t.name, t.paused as template_paused, task.paused
from task join template t on t.id = task.template_id
where task.id = :task_id
