-- Delete the step that plans the compensation, which has not been claimed. :task_id uuid
with entries as (
    delete from due d using step s
    where s.task_id = :task_id::uuid and s.undoes = 0 and {include due_row_matches_step entry=d step=s}
)
delete from step where task_id = :task_id::uuid and undoes = 0
