-- Begin the compensation of failing or cancelled tasks in which no further step can run; return these tasks.
-- :tasks text (JSON list)
update task set ending = coalesce(ending, {ERROR})
where id in (select value from json_each(:tasks)) and state = {OPEN} and has_failed_step = 1
  and exists (
      select 1 from template p
      where p.id = task.template_id and p.compensation_node is not null
        and (task.ending is not null or {ERROR} in (select value from json_each(p.compensates_on)))
  )
  and not exists (
      select 1 from step s
      where s.task_id = task.id and (s.state in ({ENQUEUED}, {IN_PROGRESS}, {WAITING}) or s.undoes = 0)
  )
  and not exists (select 1 from paged_action g where g.task_id = task.id and g.kind <> 'pause')
  and {include has_steps_to_compensate task=task}
returning id
