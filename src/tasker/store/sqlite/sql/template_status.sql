-- Status and review of a template. :id int
select *
from template
where id = :id
