-- Claims that a worker holds. :worker int
select task_id, no, attempt, attempt - uncounted_attempts as counted_attempts, checkpoint,
       {include waited step=step}
from step where worker = :worker and state = {IN_PROGRESS}
