-- Cancel the enqueued and waiting steps of cancelled tasks that will be compensated: they do not run any more.
-- :tasks text (JSON list), :now real
update step set state = {CANCELLED}, settled_at = :now, waits_for = null
where state in ({ENQUEUED}, {WAITING}) and task_id in (
    select t.id from task t
    where t.id in (select value from json_each(:tasks)) and t.state = {OPEN} and t.ending is not null
      and not exists (select 1 from step c where c.task_id = t.id and c.undoes = 0)
      and not exists (select 1 from paged_action g where g.task_id = t.id and g.kind <> 'pause')
)
returning task_id
