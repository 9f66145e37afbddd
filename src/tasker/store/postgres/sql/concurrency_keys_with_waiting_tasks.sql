-- The next keys for which tasks wait, beyond a given one. :after_namespace, :after_key text, :limit int
with recursive awaited (namespace, key) as (
    (
        select namespace, key from task_place
        where waiting and not ended and (namespace, key) > (:after_namespace, :after_key)
        order by namespace, key
        limit 1
    )
    union all
    select n.* from awaited a
    cross join lateral (
        select w.namespace, w.key from task_place w
        where w.waiting and not w.ended and (w.namespace, w.key) > (a.namespace, a.key)
        order by w.namespace, w.key
        limit 1
    ) n
)
select namespace, key from awaited
limit :limit::int
