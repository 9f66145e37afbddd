-- Seconds until the next batch of an operation may begin. :now real
select max(due_at - :now, 0.0) as delay
from bulk_operation
where status = 'running'
order by due_at
limit 1
