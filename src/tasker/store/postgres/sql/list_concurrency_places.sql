-- Tasks of a key that occupy a place, and the first :limit tasks that wait for one, oldest first. :namespace, :key
-- text, :limit int
(
    select task_id::text as task_id, tasks, waiting from task_place
    where namespace = :namespace and key = :key and not waiting and not ended
)
union all
(
    select w.task_id::text, w.tasks, w.waiting from task_place w
    where w.namespace = :namespace and w.key = :key and w.waiting and not w.ended and {include is_concurrency_place_occupied place=w}
    order by w.task_id
    limit :limit::int
)
order by task_id
