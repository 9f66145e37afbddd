-- Pause a reopened task if its template is paused. :task_id text
update task set paused = 1
where id = :task_id and not paused
  and exists (select 1 from template t where t.id = task.template_id and t.paused = 1)
returning id as id
