-- One task with the counts of its steps. :task_id uuid
with chosen as (
    select * from task where id = :task_id::uuid
)
{include task_rows}
