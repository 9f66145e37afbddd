-- Due steps of the queue :queue, the oldest first, at most :limit. :now real
select task_id, no from step
where queue_id = :queue and state = {ENQUEUED} and {include is_run_at_reached run_at=run_at}
order by {include claim_order step=step}
limit :limit
