-- Subscriptions with their backlog. :namespace, :name text or null; :visible text[] (namespaces) or null,
-- :webhooks bool or null
select s.id, s.namespace, s.name, s.patterns, s.url, s.include, s.paused, s.served_at, s.created_by, s.created_at,
       b.pending, b.dead, b.oldest
from subscription s
cross join lateral (
    select count(*) filter (where d.status = 'pending')::int as pending, count(*) filter (where d.status = 'dead')::int as dead,
           min(d.created_at) filter (where d.status = 'pending') as oldest
    from delivery d where d.subscription_id = s.id and d.status <> 'delivered'
) b
where true
  and (:namespace::text is null or s.namespace = :namespace)
  and (:name::text is null or s.name = :name)
  and (:visible::text[] is null or s.namespace = any (:visible))
  and (:webhooks::bool is null or (s.url is not null) = :webhooks)
order by s.namespace, s.name
