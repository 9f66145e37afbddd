-- Delete old log records. :before real, :limit int
delete from step_log where (task_id, no, attempt, number) in (
    select task_id, no, attempt, number from step_log
    where at < :before
    order by at
    limit :limit
)
returning number
