-- A running operation whose last handled task is :last_task. :id, :last_task text
select changed, rejected, rejections
from bulk_operation
where id = :id and last_task = :last_task and status = 'running'
