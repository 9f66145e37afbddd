-- A template, current or replaced. :id int
select id, document, registered_by, registered_at, digest from template where id = :id
