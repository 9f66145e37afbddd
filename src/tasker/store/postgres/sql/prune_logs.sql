-- Delete old log records. :before timestamptz, :limit int
delete from step_log where (task_id, no, attempt, number) in (
    select task_id, no, attempt, number from step_log
    where at < :before::timestamptz
    order by at
    limit :limit::int
)
returning number
