-- Record the claimed steps at their gates. :steps text (JSON list of [task, no])
insert into gate_claim (gate_id, task_id, no, attempt)
select g.value, s.task_id, s.no, s.attempt
from json_each(:steps) as c
join step s on s.task_id = json_extract(c.value, '$[0]') and s.no = json_extract(c.value, '$[1]')
cross join json_each(json_array(s.gate_id, s.outer_gate_id)) as g
where g.value > 0
