-- Store the gates of the steps of new tasks. :tasks text: see create_tasks.sql
update step set gate_id = g.gate_id, outer_gate_id = g.outer_gate_id
from (
    select json_extract(t.value, '$[0]') as task_id, json_extract(s.value, '$[0]') as no,
           json_extract(s.value, '$[1]') as outer_gate_id, json_extract(s.value, '$[2]') as gate_id
    from json_each(:tasks) as t
    cross join json_each(t.value, '$[18]') as s
) g
where step.task_id = g.task_id and step.no = g.no
