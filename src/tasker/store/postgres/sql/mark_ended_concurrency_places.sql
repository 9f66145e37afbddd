-- Record which tasks of a key have ended or are being compensated; of the waiting ones, only the first :limit are
-- checked.
-- :namespace, :key text, :limit int
update task_place p set ended = true
where p.task_id = any (array(
        select r.task_id from task_place r
        where r.namespace = :namespace and r.key = :key and not r.waiting and not r.ended
        union all
        (
            select w.task_id from task_place w
            where w.namespace = :namespace and w.key = :key and w.waiting and not w.ended
            order by w.task_id
            limit :limit::int
        )
    ))
  and not {include is_concurrency_place_occupied place=p}
