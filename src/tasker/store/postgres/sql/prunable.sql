-- How many tasks ended before an instant. :ended_before timestamptz
select count(*)::int from task where state <> 0 and ended_at < :ended_before::timestamptz
