-- A running operation that has come to the task :last_task. :id, :last_task uuid
select changed, refused::text as refused, refusals::text as refusals
from bulk_operation
where id = :id::uuid and last_task = :last_task::uuid and status = 'running'
