-- Note which tasks of a key have ended, or are being compensated. :namespace, :key text
update task_place set ended = 1
where namespace = :namespace and key = :key and ended = 0
  and not exists (select 1 from task t where t.id = task_place.task_id and t.state = {OPEN} and t.ending is null)
