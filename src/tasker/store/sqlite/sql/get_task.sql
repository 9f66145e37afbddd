-- One task with the counts of its steps. :task_id text, :now real
with chosen as materialized (
    select * from task where id = :task_id
)
{include task_rows}
