-- Pause a reopened task if its template is paused. :task_id uuid
update task set paused = true
where id = :task_id::uuid and not paused
  and exists (select 1 from template t where t.id = task.template_id and t.paused)
returning id::text as id
