-- Lock steps whose wait has timed out. :limit int
select w.task_id::text as task_id, w.no, w.call, w.call_kind
from (
    select * from wait
    where wake_at <= now()
    order by wake_at
    limit :limit::int + 100   -- some may be locked
) w
cross join lateral (
    select from step s where s.task_id = w.task_id and s.no = w.no
    for update skip locked
) s
limit :limit::int
