-- Free the keys of the tasks that steps created, `task:number:name`. :task_id text, :nos text (JSON list)
delete from task_key
where (key, namespace) in (
    select k.key, k.namespace from json_each(:nos) n
    cross join task_key k on k.key >= :task_id || ':' || n.value || ':' and k.key < :task_id || ':' || n.value || ';'
    cross join task t on t.id = k.task_id and t.parent_id = :task_id
)
