-- Lock steps that were due for longer than their `queue_timeout` without being claimed, pauses not
-- counted. :limit int
select task_id::text as task_id, no, name, queue_timeout from step
where state = {ENQUEUED} and queue_timeout is not null
  and {include latest_claim} <= now() at time zone 'UTC'
  and queue_id > 0
  and queue_id / 5 * 5 <> all (array({include paused_queues}))
order by {include latest_claim}
limit :limit::int
for update skip locked
