-- Subscriptions with their backlog. :namespace, :name text or null; :visible text (JSON list of namespaces) or null,
-- :webhooks int or null
select s.id, s.namespace, s.name, s.patterns, s.url, s.include, s.paused, s.served_at, s.created_by, s.created_at,
       (select count(*) from delivery d where d.subscription_id = s.id and d.status = 'pending') as pending,
       (select count(*) from delivery d where d.subscription_id = s.id and d.status = 'dead') as dead,
       (select min(d.created_at) from delivery d where d.subscription_id = s.id and d.status = 'pending') as oldest
from subscription s
where true
  and (:namespace is null or s.namespace = :namespace)
  and (:name is null or s.name = :name)
  and (:visible is null or s.namespace in (select value from json_each(:visible)))
  and (:webhooks is null or (s.url is not null) = :webhooks)
order by s.namespace, s.name
