-- Store the attributes of new tasks. :tasks text: see create_tasks.sql
insert into task_attribute (namespace, name, value, task_id)
select p.namespace, pair.key, pair.value, json_extract(g.value, '$[0]')
from json_each(:tasks) as g
join template p on p.id = json_extract(g.value, '$[1]')
join json_each(g.value, '$[15]') as pair
