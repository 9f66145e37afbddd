-- Whether :worker claims from the queue {queue}; not while it is paused. Every statement that
-- claims asks this. Steps of paused tasks have negative queues, as limited ones that a worker serves have.
{queue} > 0 and {queue} / 5 * 5 in (
    select w.queue_id from worker_queue w where w.worker = :worker
    except {include paused_queues}
)
