-- Store the history of the attempt that park_step.sql is about to end. :task_id text, :no int, :attempt int, :now real
insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at)
select task_id, no, attempt, {OUTCOME.PARKED}, worker, enqueued_at, claimed_at, :now
from step where task_id = :task_id and no = :no and attempt = :attempt and state = {IN_PROGRESS}
