-- Record which tasks of a key have ended or are being compensated; of the waiting ones, only the first :limit are
-- checked.
-- :namespace, :key text, :limit int
update task_place set ended = 1
where task_id in (
        select r.task_id from task_place r
        where r.namespace = :namespace and r.key = :key and r.waiting = 0 and r.ended = 0
        union all
        select w.task_id from (
            select task_id from task_place
            where namespace = :namespace and key = :key and waiting = 1 and ended = 0
            order by task_id
            limit :limit
        ) w
    )
  and not {include is_concurrency_place_occupied place=task_place}
