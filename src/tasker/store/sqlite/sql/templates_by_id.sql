-- Templates, in any status. :ids int[]
select *
from template
where id in (select value from json_each(:ids))
