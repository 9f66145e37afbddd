-- Lock steps whose wait has timed out. :limit int
select w.task_id::text as task_id, w.no, w.call, w.call_kind
from wait w
join step s on s.task_id = w.task_id and s.no = w.no
where w.wake_at <= now()
order by w.wake_at
limit :limit::int
for update of s skip locked
