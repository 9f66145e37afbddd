-- Take steps out of their queues. :steps text (JSON list of [task, number])
update step set queue_id = -queue_id
from (select json_extract(value, '$[0]') as task_id, json_extract(value, '$[1]') as no from json_each(:steps)) l
where step.task_id = l.task_id and step.no = l.no
