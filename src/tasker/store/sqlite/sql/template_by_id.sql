-- A template, in any status. :id int
select *
from template
where id = :id
