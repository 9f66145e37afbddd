-- One task with the counts of its steps up to the number :counted. :task_id text, :counted int, :now real
with chosen as materialized (
    select * from task where id = :task_id
)
{include tasks_with_step_counts}
