-- Lock steps that were due for longer than their `queue_timeout` without being claimed, pauses not
-- counted; not external steps that were completed. :external text, :limit int
select s.task_id::text as task_id, s.no, s.name, s.queue_timeout
from due d
join step s on {include due_entry entry=d step=s}
where d.latest_claim <= now()
  and d.queue_id > 0
  and d.queue_id / 5 * 5 <> all (array({include paused_queues}))
  and not exists (
      select from durable_call c where c.task_id = d.task_id and c.no = d.no and c.name = :external
  )
order by d.latest_claim
limit :limit::int
for update of s skip locked
