-- Ids of queues that have enqueued steps.
recursive due_queue (id) as (
    select min(queue_id) from step where state = {ENQUEUED} and queue_id > 0
    union all
    select (select min(queue_id) from step where state = {ENQUEUED} and queue_id > due_queue.id)
    from due_queue where due_queue.id is not null
)
