-- Record the last task that a locked operation has handled, and its counts. :id, :last_task text, :changed integer,
-- :rejected, :rejections text (JSON),
-- :lease real (seconds after which others continue), :now real
update bulk_operation
set last_task = :last_task, changed = :changed, rejected = :rejected, rejections = :rejections, updated_at = :now, due_at = :now + :lease
where id = :id
