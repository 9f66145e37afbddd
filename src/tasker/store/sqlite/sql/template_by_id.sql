-- A template, whatever became of it. :id int
select id, document, registered_by, registered_at, digest, status
from template
where id = :id
