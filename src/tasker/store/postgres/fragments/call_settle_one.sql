-- See functions/settle_one.sql.
select kind, task_id::text, no, attempt, at
from settle_one(:worker, :task, :no, :attempt, :result, :queues, :claim_up_to)
