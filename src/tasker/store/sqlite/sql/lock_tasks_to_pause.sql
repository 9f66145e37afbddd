-- Lock open tasks whose template is paused and whose steps are still in their queues, by id.
-- :namespace, :name text, :after text, :limit int
select task.id
from task
where task.template_id in (select t.id from template t where t.namespace = :namespace and t.name = :name and t.paused = 1)
  and task.state = {OPEN} and not task.paused and task.id > :after
order by task.id
limit :limit
