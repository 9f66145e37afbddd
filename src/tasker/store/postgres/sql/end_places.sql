-- Note which tasks of a key have ended, or are being compensated. :namespace, :key text
update task_place p set ended = true
where p.namespace = :namespace and p.key = :key and not p.ended
  and not exists (select from task t where t.id = p.task_id and t.state = {OPEN} and t.ending is null)
