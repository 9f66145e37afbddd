-- Whether a compensating step of the task {task} has not succeeded.
exists (
    select 1 from step u
    where u.task_id = {task}.id and u.undoes is not null and u.state not in ({COMPLETE}, {RESOLVED_MANUALLY})
)
