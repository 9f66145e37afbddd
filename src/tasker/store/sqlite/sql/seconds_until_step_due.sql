-- Seconds until the next step is due. :worker int, :now real
with {include queues_with_enqueued_steps}
select min((
    select min(s.run_at) from step s
    where s.queue_id = due_queue.id and s.state = {ENQUEUED} and s.run_at > :now
)) - :now
from due_queue
where due_queue.id is not null and {include worker_serves_queue queue=due_queue.id}
