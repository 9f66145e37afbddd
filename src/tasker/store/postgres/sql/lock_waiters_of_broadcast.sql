-- Steps that wait for a broadcast, in the order of the lock of steps; locked.
-- :namespace, :name, :key text, :limit int
select w.task_id::text as task_id, w.no, w.call, w.call_kind
from wait w
join step s on s.task_id = w.task_id and s.no = w.no
where w.namespace = :namespace and w.name = :name and w.key = :key and w.kind = 'broadcast'
order by w.task_id, w.no
limit :limit::int
for update of s
