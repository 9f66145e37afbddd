-- Restart the `queue_timeout` of enqueued steps. They become due a microsecond later than before; see
-- resume_steps.sql. :namespace text, :handler text or null (all)
with restarted as (
    update step s set enqueued_at = now(), run_at = s.run_at + interval '1 us'
    from due d
    where d.latest_claim is not null and {include due_row_matches_step entry=d step=s}
      and abs(d.queue_id) / 5 * 5 in (
          select id from queue
          where namespace = :namespace and (:handler::text is null or handler = :handler)
      )
    returning s.*, d.ctid as entry
)
update due d
set run_at = s.run_at, latest_claim = greatest(s.enqueued_at, s.run_at) + s.queue_timeout * interval '1 s'
from restarted s
where d.ctid = s.entry
