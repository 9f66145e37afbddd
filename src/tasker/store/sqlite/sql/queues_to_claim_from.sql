-- Queues with due steps that a worker serves; those of one handler side by side, the one with the
-- oldest step first. :worker int, :now real
with {include queues_with_enqueued_steps}, head as (
    select due_queue.id, (select min(s.run_at) from step s where s.queue_id = due_queue.id and s.state = {ENQUEUED}) as run_at
    from due_queue
    where due_queue.id is not null and {include worker_serves_queue queue=due_queue.id}
)
select head.id, queue.id, queue.weight
from head join queue on queue.id = head.id / 5 * 5
where {include is_run_at_reached run_at=head.run_at}
order by queue.id, head.run_at - head.id % 5 * 60
