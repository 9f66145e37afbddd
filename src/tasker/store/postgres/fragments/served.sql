-- Whether `p_worker` claims from the queue {queue}; not while it is paused. Every statement that
-- claims asks this.
exists (select from worker_queue where worker_queue.worker = p_worker and worker_queue.queue_id = {queue} / 5 * 5)
and {queue} / 5 * 5 <> all (v_paused)
