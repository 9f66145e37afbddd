-- Which of the claims the worker no longer holds, by index from 1.
-- :worker int, :claims text (JSON list of [task_id, no, attempt])
select g.key + 1 as ord
from json_each(:claims) as g
left join step s on s.task_id = json_extract(g.value, '$[0]') and s.no = json_extract(g.value, '$[1]')
     and s.state = {IN_PROGRESS} and s.attempt = json_extract(g.value, '$[2]') and s.worker = :worker
where s.task_id is null
