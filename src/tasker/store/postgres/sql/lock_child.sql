-- Keep a task from ending until the transaction does; tell whether it has. :task_id uuid
select state <> {OPEN} from task where id = :task_id::uuid for share
