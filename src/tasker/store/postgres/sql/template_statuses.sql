-- Template versions of every status. :namespace text or null, :name text or null
select id, namespace, name, version, status, registered_by, registered_at, decided_by, decided_at, reason
from template
where replaced_at is null
  and (:namespace::text is null or namespace = :namespace)
  and (:name::text is null or name = :name)
order by namespace, name, id
