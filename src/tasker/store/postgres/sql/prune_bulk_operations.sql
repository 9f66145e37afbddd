-- Delete operations that ended before an instant. :before timestamptz
delete from bulk_operation where status <> 'running' and ended_at < :before
