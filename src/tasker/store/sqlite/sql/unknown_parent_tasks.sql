-- Parents of new tasks that do not exist; the new tasks themselves count as existing. :tasks text: see create_tasks.sql
select json_extract(g.value, '$[4]') as id
from json_each(:tasks) as g
left join task t on t.id = json_extract(g.value, '$[4]')
where json_extract(g.value, '$[4]') is not null and t.id is null
