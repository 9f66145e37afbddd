-- Whether a step of the task {task} that undoes another one has not succeeded.
exists (
    select 1 from step u
    where u.task_id = {task}.id and u.undoes is not null and u.state not in ({COMPLETE}, {RESOLVED_MANUALLY})
)
