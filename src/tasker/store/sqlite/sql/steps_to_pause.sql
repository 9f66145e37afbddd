-- The next steps of tasks that may run and are in their queues, or with not :paused, out of them.
-- None is put back of a task whose failed steps are still being retried. :tasks text (JSON list), :last_no, :until, :limit int, :paused int
select task_id, no from step
where task_id in (select value from json_each(:tasks)) and no > :last_no and no <= :until and +state <> {COMPLETE} and (queue_id > 0) = :paused
  and (:paused or not exists (select 1 from paged_action g where g.task_id = step.task_id and g.kind = 'retry'))
order by task_id, no
limit :limit
