-- Stop a running bulk operation; no row if it has ended. :id, :stopped_by text, :now real
update bulk_operation set status = 'stopped', ended_at = :now, stopped_by = :stopped_by
where id = :id and status = 'running'
returning id
