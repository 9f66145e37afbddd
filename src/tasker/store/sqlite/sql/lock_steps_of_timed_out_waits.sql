-- Steps whose wait has timed out. :limit int, :now real
select w.task_id, w.no, w.call, w.call_kind
from wait w
where w.wake_at <= :now
order by w.wake_at
limit :limit
