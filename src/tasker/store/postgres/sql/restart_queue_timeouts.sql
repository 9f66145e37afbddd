-- Let the `queue_timeout` of enqueued steps start over.
-- :namespace text, :handler text or null (all)
with restarted as (
    update step s set enqueued_at = now()
    from due d
    where d.latest_claim is not null and {include due_entry entry=d step=s}
      and abs(d.queue_id) / 5 * 5 in (
          select id from queue
          where namespace = :namespace and (:handler::text is null or handler = :handler)
      )
    returning s.*
)
update due d set latest_claim = greatest(s.enqueued_at, s.run_at) + s.queue_timeout * interval '1 s'
from restarted s
where {include due_entry entry=d step=s}
