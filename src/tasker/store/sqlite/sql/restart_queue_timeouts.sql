-- Restart the `queue_timeout` of enqueued steps.
-- :namespace text, :handler text or null (all), :now real
update step set enqueued_at = :now
where state = {ENQUEUED} and queue_timeout is not null
  and abs(queue_id) / 5 * 5 in (
      select id from queue
      where namespace = :namespace and (:handler is null or handler = :handler)
  )
