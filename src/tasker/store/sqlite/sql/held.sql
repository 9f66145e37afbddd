-- What a worker holds. :worker int
select task_id, no, attempt, attempt - free_tries, checkpoint
from step where worker = :worker and state = 2
