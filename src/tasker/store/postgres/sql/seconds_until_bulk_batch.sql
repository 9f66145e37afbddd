-- Seconds until the next batch of an operation may begin.
select greatest(extract(epoch from due_at - now()), 0)::float8 as delay
from bulk_operation
where status = 'running'
order by due_at
limit 1
