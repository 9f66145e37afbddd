-- Mark steps that are under limits as claimed by a worker, and return the claims. :worker int, :steps text (JSON
-- list of [task, no]), :now real
update step
set state = {IN_PROGRESS}, worker = :worker, attempt = attempt + 1, claimed_at = :now,
    enqueued_at = max(enqueued_at, run_at)   -- of a retry: when it was due
from (
    select json_extract(value, '$[0]') as of_task, json_extract(value, '$[1]') as of_no
    from json_each(:steps)
) as g
where task_id = g.of_task and no = g.of_no
returning task_id, no, attempt, attempt - uncounted_attempts, checkpoint,
          {include queued_and_parked_seconds step=step}, true
