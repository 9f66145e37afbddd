-- Delete operations that ended before an instant. :before real
delete from bulk_operation where status <> 'running' and ended_at < :before
