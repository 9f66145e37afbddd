-- Which durable calls belong to attempts in progress, and the seconds until the end of a sleep.
-- :calls text (JSON list of [task_id, no, attempt, name, kind, value, delay, until]), :now real
select g.key as ord,
       coalesce(json_extract(g.value, '$[7]') - :now, json_extract(g.value, '$[6]'), 0.0) as remaining
from json_each(:calls) as g
join step s on s.task_id = json_extract(g.value, '$[0]') and s.no = json_extract(g.value, '$[1]')
     and s.attempt = json_extract(g.value, '$[2]') and s.state = {IN_PROGRESS}
