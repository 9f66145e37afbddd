-- Whether the task {task} has a completed step that says how it is undone.
exists (
    select 1 from step u
    join template_step b on b.template_id = {task}.template_id and b.no = coalesce(u.template_node, u.no)
    where u.task_id = {task}.id and u.state = {COMPLETE} and b.compensated_by is not null
)
