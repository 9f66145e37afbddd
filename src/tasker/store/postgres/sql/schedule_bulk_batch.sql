-- Schedule the next batch of an operation in :delay seconds, or end the operation, unless its last handled task is no
-- longer :last_task.
-- :id, :last_task uuid, :delay float8, :ended boolean
update bulk_operation
set due_at = now() + :delay::float8 * interval '1 second',
    status = case when :ended::boolean then 'complete' else status end,
    ended_at = case when :ended then now() end
where id = :id::uuid and last_task = :last_task::uuid and status = 'running'
