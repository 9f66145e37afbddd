-- Store the gates of the steps that new tasks will create at run time. :tasks text: see create_tasks.sql
insert into body_gate (task_id, node, gate_id, outer_gate_id)
select json_extract(t.value, '$[0]'), b.no, json_extract(s.value, '$[2]'), json_extract(s.value, '$[1]')
from json_each(:tasks) as t
cross join json_each(t.value, '$[18]') as s
join template_step b on b.template_id = json_extract(t.value, '$[1]') and b.no = json_extract(s.value, '$[0]')
where b.scope > 0
