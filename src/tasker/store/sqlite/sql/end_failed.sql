-- End tasks with a failed step in which no further step can run. :tasks text (JSON list), :now real
update task
set state = {ERROR},
    ended_at = :now,
    error = (
        select json_object(
            'message', count(*) || ' step' || case when count(*) > 1 then 's' else '' end || ' failed',
            'steps', json_group_array(step.name)
        )
        from step where step.task_id = task.id and step.state = {ERROR}
    )
where id in (select value from json_each(:tasks)) and has_failed_step = 1 and state = {OPEN}
  and not exists (
      select 1 from step where step.task_id = task.id and step.state in ({ENQUEUED}, {IN_PROGRESS}, {WAITING})
  )
returning id
