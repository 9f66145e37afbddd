-- Templates, in any status. :ids int[]
select *
from template
where id = any (:ids::int[])
