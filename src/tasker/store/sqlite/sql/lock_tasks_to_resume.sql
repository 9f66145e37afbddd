-- List tasks that only their template paused, which is no longer paused, by id.
-- :namespace, :name text, :after text, :limit int
select task.id
from task
where task.template_id in (select t.id from template t where t.namespace = :namespace and t.name = :name and not t.paused)
  and task.paused = 1 and task.id > :after
  and not exists (select 1 from pause where pause.name = task.id and pause.kind = 'task')
order by task.id
limit :limit
