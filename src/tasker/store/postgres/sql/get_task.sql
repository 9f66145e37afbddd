-- One task with the counts of its steps up to the number :counted. :task_id uuid, :counted int
with chosen as (
    select * from task where id = :task_id::uuid
)
{include tasks_with_step_counts}
