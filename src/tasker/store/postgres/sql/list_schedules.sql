-- Schedules by id. :namespace, :name, :template text, :visible text[] (of namespaces), :after int, all or
-- null; :limit int
select s.id, s.namespace, s.name, s.template, s.version, s.spec, s.declared_by, s.paused, s.revision,
       s.next_at, s.look_at, s.last_tick, s.last_task::text as last_task, s.created_by, s.created_at, s.updated_at,
       (select count(*) from schedule_tick t where t.schedule_id = s.id and t.outcome = 'buffered') as buffered
from schedule s
where true
  and (:namespace::text is null or s.namespace = :namespace)
  and (:name::text is null or s.name = :name)
  and (:template::text is null or s.template = :template)
  and (:visible::text[] is null or s.namespace = any (:visible))
  and (:after::int is null or s.id > :after)
order by s.id
limit :limit::int
