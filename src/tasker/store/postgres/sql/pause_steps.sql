-- Take locked steps out of their queues. :steps text (JSON list of [task, number])
with entries as (
    update due set queue_id = -queue_id
    where ctid = any (array(
        select e.ctid from {include step_rows_by_key}
        cross join lateral (select d.ctid from due d where {include due_row_matches_step entry=d step=s} offset 0) e
    ))
)
update step set queue_id = -queue_id
where ctid = any (array(select s.ctid from {include step_rows_by_key}))
