-- Events, newest first. :namespace, :name, :name_prefix, :task_id text, :visible text (JSON list of namespaces),
-- :after int, all or null; :limit int
select o.id, o.task_id, o.no, o.attempt, o.outcome, o.at, o.duration, o.name, o.step, o.correlation_id, o.payload,
       t.namespace, t.name as template, t.version, null as context, null as result
from outbox o
join template t on t.id = o.template_id
where true
  and (:task_id is null or o.task_id = :task_id)
  and (:namespace is null or t.namespace = :namespace)
  and (:name is null or o.name = :name)
  and (:name_prefix is null or substr(o.name, 1, length(:name_prefix)) = :name_prefix)
  and (:visible is null or t.namespace in (select value from json_each(:visible)))
  and (:after is null or o.id < :after)
order by o.id desc
limit :limit
