-- Keep a task from ending until the transaction does, and return whether it has. :task_id uuid
select state <> {OPEN} as over from task where id = :task_id::uuid for share
