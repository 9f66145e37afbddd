-- Call the function settle_success.
select kind, task_id::text, no, attempt, at
from settle_success(:worker, :task, :no, :attempt, :result, :claim_up_to)
