-- Steps that were due for longer than their `queue_timeout` without being claimed; not paused
-- ones, and not external steps that were completed. :now real, :external text, :limit int
select task_id, no, name, queue_timeout from step indexed by step_queue_timeout
where state = {ENQUEUED} and queue_timeout is not null and {include queue_timeout_at} <= :now
  and queue_id > 0
  and queue_id / 5 * 5 not in ({include paused_queues})
  and not exists (
      select 1 from durable_call c
      where c.task_id = step.task_id and c.no = step.no and c.name = :external
  )
order by {include queue_timeout_at}
limit :limit
