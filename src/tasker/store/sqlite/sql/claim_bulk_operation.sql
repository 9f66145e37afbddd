-- Claim the operation that has waited longest for its next batch; others may claim it after :lease seconds. :now real
update bulk_operation set due_at = :now + :lease
where id = (
    select id from bulk_operation
    where status = 'running' and due_at <= :now
    order by due_at
    limit 1
)
returning {include bulk_operation_columns}
