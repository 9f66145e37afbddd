-- Call the function settle.
select kind, task_id::text, no, attempt, at
from settle(:worker, :tasks::uuid[], :nos, :attempts, :outcomes, :results, :errors, :delays, :choices, :to_handler, :claim_up_to)
