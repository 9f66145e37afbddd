-- Lock tasks that only their template paused, which is no longer paused, by id.
-- :namespace, :name text, :after uuid, :limit int
select task.id::text as id
from task
where task.template_id in (select t.id from template t where t.namespace = :namespace and t.name = :name and not t.paused)
  and task.paused and task.id > :after::uuid
  and not exists (select 1 from pause where pause.name = task.id::text and pause.kind = 'task')
order by task.id
limit :limit::int
for update
