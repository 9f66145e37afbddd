-- Steps that wait for a broadcast. :namespace, :name, :key text, :limit int
select task_id, no, call, call_kind
from wait
where namespace = :namespace and name = :name and key = :key and kind = 'broadcast'
order by task_id, no
limit :limit
