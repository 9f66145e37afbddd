-- In which order the steps of a queue are claimed; `step_due` has the same columns.
{step}.run_at, {step}.task_id, {step}.no
