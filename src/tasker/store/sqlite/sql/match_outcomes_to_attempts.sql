-- Store the outcomes of running attempts in temp.settled; the others are too late.
-- :outcomes text (JSON list of [task_id, no, attempt, outcome, result, error, delay, choice, to_handler])
insert into temp.settled (ord, task_id, no, attempt, outcome, result, error, delay, run_at, children, on_error,
                          choice, to_handler)
select g.key, s.task_id, s.no, s.attempt, json_extract(g.value, '$[3]'), json_extract(g.value, '$[4]'),
       json_extract(g.value, '$[5]'), json_extract(g.value, '$[6]'), s.run_at, s.children, s.on_error,
       json_extract(g.value, '$[7]'), json_extract(g.value, '$[8]')
from json_each(:outcomes) as g
join step s on s.task_id = json_extract(g.value, '$[0]') and s.no = json_extract(g.value, '$[1]')
     and s.attempt = json_extract(g.value, '$[2]')   -- the fence
     and s.state = {IN_PROGRESS}
where true
on conflict do nothing
