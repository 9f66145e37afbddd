-- Record durable calls of attempts in progress.
-- :calls text (JSON list of [task_id, no, attempt, name, kind, value, delay, until]), :now real
insert into durable_call (task_id, no, name, kind, value, until)
select s.task_id, s.no, json_extract(g.value, '$[3]'), json_extract(g.value, '$[4]'), json_extract(g.value, '$[5]'),
       coalesce(json_extract(g.value, '$[7]'), :now + json_extract(g.value, '$[6]'))
from json_each(:calls) as g
join step s on s.task_id = json_extract(g.value, '$[0]') and s.no = json_extract(g.value, '$[1]')
     and s.attempt = json_extract(g.value, '$[2]') and s.state = {IN_PROGRESS}
where true
on conflict do nothing
