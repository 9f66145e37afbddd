-- Let the `queue_timeout` of enqueued steps start over.
-- :namespace text, :handler text or null (all)
update step set enqueued_at = now()
where state = {ENQUEUED} and queue_timeout is not null
  and abs(queue_id) / 5 * 5 in (
      select id from queue
      where namespace = :namespace and (:handler::text is null or handler = :handler)
  )
