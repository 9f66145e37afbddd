-- Call the function settle_one.
select kind, task_id::text, no, attempt, at
from settle_one(:worker, :task, :no, :attempt, :result, :claim_up_to)
