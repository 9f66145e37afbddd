-- Events, newest first. :namespace, :name, :name_prefix text, :task_id uuid, :visible text[] (namespaces),
-- :after bigint, all or null; :limit int
select o.id, o.task_id::text, o.no, o.attempt, o.outcome, o.at, o.duration, o.name, o.step, o.correlation_id, o.payload,
       t.namespace, t.name as template, t.version, null as context, null as result
from outbox o
join template t on t.id = o.template_id
where true
  and (:task_id::uuid is null or o.task_id = :task_id)
  and (:namespace::text is null or t.namespace = :namespace)
  and (:name::text is null or o.name = :name)
  and (:name_prefix::text is null or starts_with(o.name, :name_prefix))
  and (:visible::text[] is null or t.namespace = any (:visible))
  and (:after::bigint is null or o.id < :after)
order by o.id desc
limit :limit::int
