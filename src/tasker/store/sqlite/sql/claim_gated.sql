-- Lease steps to a worker. :worker int, :steps text (JSON list of [task, no]), :now real
update step
set state = {IN_PROGRESS}, worker = :worker, attempt = attempt + 1, claimed_at = :now,
    enqueued_at = max(enqueued_at, run_at)   -- of a retry: when it was due
where (task_id, no) in (
    select json_extract(value, '$[0]'), json_extract(value, '$[1]') from json_each(:steps)
)
returning task_id, no, attempt, attempt - uncounted_attempts, checkpoint,
          {include waited step=step}, true
