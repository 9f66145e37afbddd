-- Keys of tasks that ended early, and of tasks attached to them at any depth, for which others wait. Of each, the first
-- :limit attached tasks are looked at, if any task waits at all. :tasks uuid[], :limit int
with recursive ended (id) as (
    select g.id from unnest(:tasks::uuid[]) as g (id)
    where exists (select from task_place where waiting and not ended)
    union
    select c.id from ended e
    cross join lateral (
        select t.id from task t where t.parent_id = e.id and t.attached limit :limit::int
    ) c
)
select distinct p.namespace, p.key from ended e join task_place p on p.task_id = e.id
where exists (
    select from task_place w where w.namespace = p.namespace and w.key = p.key and w.waiting and not w.ended
)
