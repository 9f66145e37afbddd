-- Lock open tasks whose template is paused and whose steps are still in their queues, by id.
-- :namespace, :name text, :after uuid, :limit int
select task.id::text as id
from task
where task.template_id in (select t.id from template t where t.namespace = :namespace and t.name = :name and t.paused)
  and task.state = {OPEN} and not task.paused and task.id > :after::uuid
order by task.id
limit :limit::int
for update
