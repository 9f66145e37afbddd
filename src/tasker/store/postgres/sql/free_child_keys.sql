-- Free the keys of the tasks that a step created. :task_id uuid, :no int
delete from task_key k using task t
where t.parent_id = :task_id::uuid and k.task_id = t.id
  and starts_with(k.key, :task_id::uuid::text || ':' || :no::int::text || ':')
