-- The given queues that are paused or whose namespace is. :queues text (JSON list of [namespace, handler])
select q.namespace, q.handler
from (
    select json_extract(value, '$[0]') as namespace, json_extract(value, '$[1]') as handler from json_each(:queues)
) q
where {include is_queue_paused queue=q}
