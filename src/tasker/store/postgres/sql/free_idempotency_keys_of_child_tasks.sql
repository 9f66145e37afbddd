-- Free the keys of the tasks that steps created, `task:number:name`. :task_id uuid, :nos int[]
delete from task_key
where ctid = any (array(
    select c.ctid from unnest(:nos::int[]) as n (no)
    cross join lateral (
        select k.ctid, k.task_id from task_key k
        where k.key >= :task_id::uuid::text || ':' || n.no || ':' and k.key < :task_id::uuid::text || ':' || n.no || ';'
        offset 0
    ) c
    cross join lateral (select t.parent_id from task t where t.id = c.task_id offset 0) t
    where t.parent_id = :task_id::uuid
))
