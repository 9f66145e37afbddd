-- End tasks with a failed step, and those that were cancelled, in which no further step can run.
-- :tasks text (JSON list), :now real
update task
set state = case when ending is null or {include is_compensation_incomplete task=task} then {ERROR} else ending end,
    ended_at = :now,
    error = coalesce(error, (
        select json_object(
            'message', 'step ''' || first.name || '''' || case when count(*) > 1 then ' and ' || (count(*) - 1) || ' more' else '' end
                || ' failed: ' || first.reason,
            'steps', json_group_array({include name_of_step step=step})
        )
        from step, (
            select {include name_of_step step=s} as name, {include error_message step=s} as reason
            from step s where s.task_id = task.id and s.state = {ERROR} and {include step_fails_task task=task step=s} order by s.settled_at, s.no limit 1
        ) first
        where step.task_id = task.id and step.state = {ERROR} and {include step_fails_task task=task step=step}
        having count(*) > 0
    ))
where id in (select value from json_each(:tasks)) and has_failed_step = 1 and state = {OPEN}
  and not exists (
      select 1 from step where step.task_id = task.id and step.state in ({ENQUEUED}, {IN_PROGRESS}, {WAITING})
  )
  and not exists (select 1 from paged_action g where g.task_id = task.id and g.kind <> 'pause')
returning id, state
