-- Gates by key. :namespaces text[], :keys text[]
select g.id, g.namespace, g.key, g.declared_by, g.used_at < now() - interval '1 day' as unused
from unnest(:namespaces::text[], :keys::text[]) as k (namespace, key)
join gate g on g.namespace = k.namespace and g.key = k.key
