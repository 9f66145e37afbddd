-- Claim due steps of one queue, the oldest first. :worker int, :queue int, :limit int, :now real
update step
{include mark_claimed worker=:worker}
where (task_id, no) in (
    {include due_steps}
)
returning task_id, no, attempt, attempt - uncounted_attempts, checkpoint,
          {include queued_and_parked_seconds step=step}
