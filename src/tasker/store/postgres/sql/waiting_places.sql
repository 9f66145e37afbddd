-- The next keys for which tasks wait, and whether fewer tasks of theirs are open than may be.
-- :after_namespace, :after_key text, :limit int
with recursive awaited (namespace, key, tasks) as (
    (
        select namespace, key, tasks from task_place
        where waiting and not ended and (namespace, key) > (:after_namespace, :after_key)
        order by namespace, key, task_id
        limit 1
    )
    union all
    select n.* from awaited a
    cross join lateral (
        select w.namespace, w.key, w.tasks from task_place w
        where w.waiting and not w.ended and (w.namespace, w.key) > (a.namespace, a.key)
        order by w.namespace, w.key, w.task_id
        limit 1
    ) n
)
select a.namespace, a.key, (
    select count(*) from (
        select from task_place r
        where r.namespace = a.namespace and r.key = a.key and not r.waiting and not r.ended and {include place_is_open place=r}
        limit a.tasks
    ) r
) < a.tasks as has_room
from awaited a
limit :limit::int
