-- Seconds until the next step is due. :queues text (JSON list), :now real
select min((
    select min(s.run_at) from step s
    where s.queue_id = q.value and s.state = {ENQUEUED} and s.run_at > :now
)) - :now
from json_each(:queues) q
