-- Take the operation that waits longest for its next batch; others take it after the seconds :lease.
update bulk_operation set due_at = now() + :lease::float8 * interval '1 second'
where id = (
    select id from bulk_operation
    where status = 'running' and due_at <= now()
    order by due_at
    limit 1
    for update skip locked
)
returning {include bulk_operation_columns}
