-- How many tasks ended before an instant. :ended_before real
select count(*) from task where state <> 0 and ended_at < :ended_before
