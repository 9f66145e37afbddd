-- Tasks that ended before an instant, oldest first. :ended_before real, :limit int
select id from task where state <> {OPEN} and ended_at < :ended_before order by id limit :limit
