-- All that stands under the name of a template, oldest first.
-- :namespace text, :name text, :version text
select id, namespace, name, version, status, registered_by, registered_at, decided_by, decided_at, reason, digest
from template
where namespace = :namespace and name = :name and version = :version and replaced_at is null
order by id
