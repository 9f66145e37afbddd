-- Queues with due steps, the one with the oldest step first. :queues text (JSON list), :now real
select q.value, (select min(s.run_at) from step s where s.queue_id = q.value and s.state = {ENQUEUED}) as head
from json_each(:queues) q
where {include claimable run_at=head}
order by head - q.value % 5 * 60
