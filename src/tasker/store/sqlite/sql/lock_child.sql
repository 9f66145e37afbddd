-- Tell whether a task has ended. :task_id text
select state <> {OPEN} from task where id = :task_id
