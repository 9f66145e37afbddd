-- Delete what steps of a task wait for. :task_id uuid, :nos int[]
delete from wait
where ctid = any (array(
    select w.ctid from unnest(:nos::int[]) as n (no)
    cross join lateral (select w.ctid from wait w where w.task_id = :task_id::uuid and w.no = n.no offset 0) w
))
