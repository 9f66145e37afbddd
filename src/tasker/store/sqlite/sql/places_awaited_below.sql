-- Keys of tasks that ended early, and of tasks attached to them at any depth, for which others wait. The first :limit of
-- all are looked at, if any task waits at all. :tasks text (JSON list), :limit int
with recursive ended (id) as (
    select value from json_each(:tasks)
    where exists (select 1 from task_place where waiting = 1 and ended = 0)
    union
    select t.id from ended e join task t on t.parent_id = e.id and t.attached = 1
    limit :limit
)
select distinct p.namespace, p.key from ended e join task_place p on p.task_id = e.id
where exists (
    select 1 from task_place w where w.namespace = p.namespace and w.key = p.key and w.waiting = 1 and w.ended = 0
)
