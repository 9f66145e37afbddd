-- Whether the worker {worker} claims from the queue {queue}; not while it is paused. Every statement that
-- claims asks this. Steps of paused tasks have negative queues, as limited ones that a worker serves have. (A plan may read all that the worker serves for an `exists`.)
{queue} > 0 and coalesce((
    select true from worker_queue where worker_queue.worker = {worker} and worker_queue.queue_id = {queue} / 5 * 5
), false)
and {queue} / 5 * 5 <> all (v_paused)
