-- Results of the steps that are done. :steps text (JSON list of [task_id, no])
select s.task_id, s.no, s.result
from json_each(:steps) as g
join step s on s.task_id = json_extract(g.value, '$[0]') and s.no = json_extract(g.value, '$[1]')
where s.state in ({COMPLETE}, {SKIPPED}, {RESOLVED_MANUALLY})
