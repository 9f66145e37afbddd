-- End locked steps of a task, running ones included. :task_id uuid, :nos int[], :state int
with entries as (
    delete from due
    where ctid = any (array(
        select e.ctid from {include step_rows_by_number}
        cross join lateral (select d.ctid from due d where {include due_row_matches_step entry=d step=s} offset 0) e
    ))
)
update step set state = :state, settled_at = clock_timestamp(), waits_for = null
where ctid = any (array(select s.ctid from {include step_rows_by_number}))
