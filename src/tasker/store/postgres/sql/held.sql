-- Claims that a worker holds. :worker bigint
select task_id::text, no, attempt, attempt - uncounted_attempts as counted_attempts, checkpoint::text,
       {include waited step=step}
from step where worker = :worker and state = {IN_PROGRESS}
