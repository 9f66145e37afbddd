-- Claims that a worker holds. :worker int
select task_id, no, attempt, attempt - uncounted_attempts as counted_attempts, checkpoint,
       {include queued_and_parked_seconds step=step}
from step where worker = :worker and state = {IN_PROGRESS}
