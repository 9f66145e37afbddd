-- Keep a task from ending until this transaction ends; return whether the task has ended. :task_id uuid
select state <> {OPEN} as over from task where id = :task_id::uuid for share
