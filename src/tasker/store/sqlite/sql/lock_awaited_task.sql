-- Whether a task has ended. :task_id text
select state <> {OPEN} as over from task where id = :task_id
