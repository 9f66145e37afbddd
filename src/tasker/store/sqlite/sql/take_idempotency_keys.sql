-- Take the free keys; of several new tasks with one key, the first gets it. :tasks text: see create_tasks.sql
insert into task_key (namespace, key, task_id, digest, unique_while)
select p.namespace, json_extract(g.value, '$[5]'), json_extract(g.value, '$[0]'), json_extract(g.value, '$[6]'),
       json_extract(g.value, '$[16]')
from json_each(:tasks) as g
join template p on p.id = json_extract(g.value, '$[1]')
where json_extract(g.value, '$[5]') is not null
order by g.key
on conflict do update
set task_id = excluded.task_id, digest = excluded.digest, unique_while = excluded.unique_while
where unique_while = 'open'
  and exists (select 1 from task t where t.id = task_key.task_id and t.state <> {OPEN})
