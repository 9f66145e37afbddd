-- Call the function settle_outcomes.
select kind, task_id::text, no, attempt, at
from settle_outcomes(:worker, :tasks::uuid[], :nos::text::int[], :attempts::text::int[], :outcomes::text::smallint[], :results, :errors, :delays, :choices, :to_handler, :claim_up_to)
