-- Tasks whose key another task has, with that task. :tasks text: see create_tasks.sql
select json_extract(g.value, '$[0]'), k.task_id, k.key, k.digest = json_extract(g.value, '$[6]'),
       json_extract(g.value, '$[17]')
from json_each(:tasks) as g
join template p on p.id = json_extract(g.value, '$[1]')
join task_key k on k.namespace = p.namespace and k.key = json_extract(g.value, '$[5]')
where k.task_id <> json_extract(g.value, '$[0]')
