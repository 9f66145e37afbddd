-- Whether `p_worker` claims limited steps from the queue {queue}; not while it is paused.
coalesce((
    select true from worker_queue where worker_queue.worker = p_worker and worker_queue.queue_id = -({queue} / 5 * 5)
), false)
and {queue} / 5 * 5 <> all (v_paused)
