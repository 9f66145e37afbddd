-- Schedule the next batch of an operation in :delay seconds, or end the operation, unless its last handled task is no
-- longer :last_task.
-- :id, :last_task text, :delay real, :ended integer, :now real
update bulk_operation
set due_at = :now + :delay,
    status = case when :ended then 'complete' else status end,
    ended_at = case when :ended then :now end
where id = :id and last_task = :last_task and status = 'running'
