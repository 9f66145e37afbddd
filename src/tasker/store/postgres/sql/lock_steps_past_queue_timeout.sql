-- Lock steps that were due for longer than their `queue_timeout` without being claimed; not paused
-- ones, and not external steps that were completed. :external text, :limit int
select s.task_id::text as task_id, s.no, s.name, s.queue_timeout
from (
    select * from due
    where latest_claim <= now()
      and queue_id > 0
      and queue_id / 5 * 5 <> all (array({include paused_queues}))
      and not exists (
          select from durable_call c where c.task_id = due.task_id and c.no = due.no and c.name = :external
      )
    order by latest_claim
    limit :limit::int
) d
cross join lateral (
    select s.task_id, s.no, s.name, s.queue_timeout from step s
    where {include due_row_matches_step entry=d step=s}
    for update skip locked
) s
