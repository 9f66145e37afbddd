-- Whether a row of `pause` pauses the task with id {task}, of the template {template}.
(pause.name = {task}::text and pause.kind = 'task'
 or pause.name = {template}.name and pause.kind = 'template' and pause.namespace = {template}.namespace
 or pause.name = '' and pause.kind = 'namespace' and pause.namespace = {template}.namespace)
