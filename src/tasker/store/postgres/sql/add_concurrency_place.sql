-- Count a new task among the open or waiting ones of its key. :task_id uuid, :namespace, :key text, :tasks int,
-- :waiting boolean
insert into task_place (task_id, namespace, key, tasks, waiting)
values (:task_id::uuid, :namespace, :key, :tasks, :waiting)
