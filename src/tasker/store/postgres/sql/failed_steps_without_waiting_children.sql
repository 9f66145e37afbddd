-- The failed steps for which no child waits: all children that the failure reached have started.
-- :task_id uuid, :nos int[]
select s.no from {include step_rows_by_number}
where not exists (
    select from unnest(s.on_error) as e (no)
    cross join lateral (select c.state from step c where c.task_id = :task_id::uuid and c.no = e.no offset 0) c
    where c.state in ({PENDING}, {CANCELLED})
)
order by s.no
