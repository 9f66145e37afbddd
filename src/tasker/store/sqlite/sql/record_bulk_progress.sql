-- Move a locked operation to the task that it has handled. :id, :last_task text, :changed integer, :refused, :refusals text (JSON),
-- :lease real (seconds after which others continue), :now real
update bulk_operation
set last_task = :last_task, changed = :changed, refused = :refused, refusals = :refusals, updated_at = :now, due_at = :now + :lease
where id = :id
