-- Free the keys of the tasks that steps created, `task:number:name`. :task_id uuid, :nos int[]
delete from task_key k using task t
where t.parent_id = :task_id::uuid and k.task_id = t.id
  and starts_with(k.key, :task_id::uuid::text || ':') and split_part(k.key, ':', 2) = any (:nos::int[]::text[])
