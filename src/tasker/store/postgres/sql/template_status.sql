-- What was decided about a template. :id int
select *
from template
where id = :id
