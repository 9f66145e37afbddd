-- Results of steps that are done, and errors and states of steps that ended otherwise. :steps text (JSON list of
-- [task_id, no])
select s.task_id, s.no, s.result, s.state, case when s.state in ({ERROR}, {SKIPPED}) then s.error end
from json_each(:steps) as g
join step s on s.task_id = json_extract(g.value, '$[0]') and s.no = json_extract(g.value, '$[1]')
where s.state in ({COMPLETE}, {ERROR}, {SKIPPED}, {RESOLVED_MANUALLY})
