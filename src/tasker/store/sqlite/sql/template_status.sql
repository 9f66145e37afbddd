-- What was decided about a template. :id int
select id, namespace, name, version, status, registered_by, registered_at, decided_by, decided_at, reason
from template
where id = :id
