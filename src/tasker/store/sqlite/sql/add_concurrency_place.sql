-- Count a new task among the open or waiting ones of its key. :task_id text, :namespace, :key text, :tasks int,
-- :waiting boolean
insert into task_place (task_id, namespace, key, tasks, waiting)
values (:task_id, :namespace, :key, :tasks, :waiting)
