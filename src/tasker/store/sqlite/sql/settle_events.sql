-- Store the events of the accepted outcomes. :now real,
-- :events text (JSON list of [outcome index, template_id, step, correlation_id, name, payload, duration])
insert into outbox (task_id, no, attempt, template_id, outcome, at, duration, name, step, correlation_id, payload)
select g.task_id, g.no, g.attempt, json_extract(e.value, '$[1]'), g.outcome, :now, json_extract(e.value, '$[6]'),
       json_extract(e.value, '$[4]'), json_extract(e.value, '$[2]'), json_extract(e.value, '$[3]'),
       json_extract(e.value, '$[5]')
from json_each(:events) as e
join temp.settled g on g.ord = json_extract(e.value, '$[0]')
order by e.key
