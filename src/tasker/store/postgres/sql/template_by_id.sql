-- A template, whatever became of it. :id int
select *
from template
where id = :id
