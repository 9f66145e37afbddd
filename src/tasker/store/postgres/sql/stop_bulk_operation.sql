-- Stop a running bulk operation; no row if it has ended. :id uuid, :stopped_by text
update bulk_operation set status = 'stopped', ended_at = now(), stopped_by = :stopped_by
where id = :id::uuid and status = 'running'
returning id
