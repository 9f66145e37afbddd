-- The next keys for which tasks wait, beyond a given one. :after_namespace, :after_key text, :limit int
with recursive awaited (task_id) as (
    select (
        select task_id from task_place
        where waiting = 1 and ended = 0 and (namespace, key) > (:after_namespace, :after_key)
        order by namespace, key, task_id
        limit 1
    )
    union all
    select (
        select w.task_id from task_place w
        where w.waiting = 1 and w.ended = 0 and (w.namespace, w.key) > (p.namespace, p.key)
        order by w.namespace, w.key, w.task_id
        limit 1
    )
    from awaited a
    join task_place p on p.task_id = a.task_id
)
select p.namespace, p.key
from awaited a
cross join task_place p on p.task_id = a.task_id
limit :limit
