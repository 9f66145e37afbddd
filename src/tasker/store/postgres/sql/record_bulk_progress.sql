-- Record the last task that a locked operation has handled, and its counts. :id, :last_task uuid, :changed int,
-- :rejected, :rejections text (JSON),
-- :lease float8 (seconds after which others continue)
update bulk_operation
set last_task = :last_task::uuid, changed = :changed, rejected = :rejected::json, rejections = :rejections::json,
    updated_at = now(), due_at = now() + :lease::float8 * interval '1 second'
where id = :id::uuid
