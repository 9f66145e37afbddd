-- How many tasks ended before an instant. :ended_before real
select count(*) as tasks from task where state <> {OPEN} and ended_at < :ended_before
