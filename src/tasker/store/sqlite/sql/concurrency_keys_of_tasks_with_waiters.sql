-- The keys of these tasks for which other tasks wait. :tasks text (JSON list)
select distinct p.namespace, p.key from task_place p
where p.task_id in (select value from json_each(:tasks))
  and exists (
      select 1 from task_place w where w.namespace = p.namespace and w.key = p.key and w.waiting = 1 and w.ended = 0
  )
