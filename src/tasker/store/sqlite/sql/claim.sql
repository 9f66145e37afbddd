-- Lease due steps of one queue, the oldest first. :worker int, :queue int, :limit int, :now real
update step
set state = {IN_PROGRESS}, worker = :worker, attempt = attempt + 1, claimed_at = :now,
    enqueued_at = max(enqueued_at, run_at)   -- of a retry: when it was due
where (task_id, no) in (
    select task_id, no from step
    where queue_id = :queue and state = {ENQUEUED} and {include claimable run_at=run_at}
    order by {include claim_order step=step}
    limit :limit
)
returning task_id, no, attempt, attempt - uncounted_attempts, checkpoint,
          {include waited step=step}
