-- The keys of these tasks for which other tasks wait. :tasks uuid[]
select distinct p.namespace, p.key from task_place p
where p.task_id = any (:tasks::uuid[])
  and exists (
      select from task_place w where w.namespace = p.namespace and w.key = p.key and w.waiting and not w.ended
  )
