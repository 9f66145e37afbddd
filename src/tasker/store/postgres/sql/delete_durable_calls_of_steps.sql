-- Delete the durable calls of steps. :task_id uuid, :nos int[]
delete from durable_call
where ctid = any (array(
    select c.ctid from unnest(:nos::int[]) as n (no)
    cross join lateral (select c.ctid from durable_call c where c.task_id = :task_id::uuid and c.no = n.no offset 0) c
))
