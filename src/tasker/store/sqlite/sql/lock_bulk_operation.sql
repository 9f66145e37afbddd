-- A running operation that has come to the task :last_task. :id, :last_task text
select changed, rejected, rejections
from bulk_operation
where id = :id and last_task = :last_task and status = 'running'
