-- The given queues that are paused or whose namespace is. :queues text (JSON list of [namespace, handler])
select q.namespace, q.handler
from (select value ->> 0 as namespace, value ->> 1 as handler from json_array_elements(:queues::text::json)) q
where {include is_queue_paused queue=q}
