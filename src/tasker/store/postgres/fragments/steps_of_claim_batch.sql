-- Joins the steps that are in progress under the claims of {batch}, as {step}: each looked up by its
-- primary key, since `offset` keeps the planner from reading all steps instead.
cross join lateral unnest({batch}.tasks, {batch}.nos) as claimed (task_id, no)
cross join lateral (
    select * from step
    where step.task_id = claimed.task_id and step.no = claimed.no and step.state = {IN_PROGRESS}
      and step.worker = {batch}.worker and step.claimed_at = {batch}.claimed_at
    offset 0
) {step}
