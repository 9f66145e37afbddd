-- A template, whatever became of it. :id int
select id, document::text, registered_by, registered_at, digest, status
from template
where id = :id
