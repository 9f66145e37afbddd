-- The template of a task, whether new tasks of the template are paused, and whether the task is. :task_id text
select t.namespace, t.name, t.paused as template_paused, task.paused
from task join template t on t.id = task.template_id
where task.id = :task_id
