-- Record the results of attempts. :now real
update step
set state = case g.outcome when {OUTCOME.COMPLETE} then {COMPLETE} when {OUTCOME.ERROR} then {ERROR}
                           when {OUTCOME.RESOLVED_MANUALLY} then {RESOLVED_MANUALLY}
                           when {OUTCOME.SKIPPED} then {SKIPPED} else {ENQUEUED} end,
    run_at = case when g.outcome in ({OUTCOME.RETRY}, {OUTCOME.LOST}, {OUTCOME.RELEASED}, {OUTCOME.PARKED}) then :now + g.delay else step.run_at end,
    uncounted_attempts = step.uncounted_attempts + (g.outcome in ({OUTCOME.LOST}, {OUTCOME.RELEASED}, {OUTCOME.PARKED})),
    lost_attempts = (step.lost_attempts + (g.outcome = {OUTCOME.LOST})) * (g.outcome <> {OUTCOME.PARKED}),
    settled_at = :now,
    result = g.result,
    error = g.error
from temp.settled g
where step.task_id = +g.task_id and step.no = +g.no   -- the signs keep the scan on `settled`
