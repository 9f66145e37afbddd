-- How many tasks ended before an instant. :ended_before timestamptz
select count(*)::int as tasks from task where state <> {OPEN} and ended_at < :ended_before::timestamptz
