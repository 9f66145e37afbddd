-- Current templates. :namespace text or null, :name text or null
select id, document::text, registered_by, registered_at, digest
from template
where replaced_at is null
  and (:namespace::text is null or namespace = :namespace)
  and (:name::text is null or name = :name)
order by namespace, name, id
