-- Which of the claims their workers no longer hold, by index from 1.
-- :claims text (JSON list of [task_id, no, attempt, worker])
select g.key + 1 as ord
from json_each(:claims) as g
left join step s on s.task_id = json_extract(g.value, '$[0]') and s.no = json_extract(g.value, '$[1]')
     and s.state = {IN_PROGRESS} and s.attempt = json_extract(g.value, '$[2]')
     and s.worker = json_extract(g.value, '$[3]')
where s.task_id is null
