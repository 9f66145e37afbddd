-- Tasks of a key that occupy a place, and the first :limit tasks that wait for one, oldest first. :namespace, :key
-- text, :limit int
select task_id, tasks, waiting from task_place
where namespace = :namespace and key = :key and waiting = 0 and ended = 0
union all
select task_id, tasks, waiting from (
    select w.task_id, w.tasks, w.waiting from task_place w
    where w.namespace = :namespace and w.key = :key and w.waiting = 1 and w.ended = 0 and {include is_concurrency_place_occupied place=w}
    order by w.task_id
    limit :limit
)
order by task_id
