-- Free the keys of the tasks that steps created, `task:number:name`. :task_id text, :nos text (JSON list)
delete from task_key
where task_id in (select id from task where parent_id = :task_id)
  and substr(key, 1, length(:task_id) + 1) = :task_id || ':'
  and substr(key, length(:task_id) + 2, instr(substr(key, length(:task_id) + 2), ':') - 1) in (select cast(value as text) from json_each(:nos))
