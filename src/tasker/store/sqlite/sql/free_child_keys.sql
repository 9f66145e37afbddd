-- Free the keys of the tasks that a step created. :task_id text, :no int
delete from task_key
where task_id in (select id from task where parent_id = :task_id)
  and substr(key, 1, length(:task_id || ':' || :no || ':')) = :task_id || ':' || :no || ':'
