-- A running operation whose last handled task is :last_task. :id, :last_task uuid
select changed, rejected::text as rejected, rejections::text as rejections
from bulk_operation
where id = :id::uuid and last_task = :last_task::uuid and status = 'running'
