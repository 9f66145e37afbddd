-- Store the history of the running attempt, if any, that take_step.sql is about to end. :task_id text, :no int, :now real
insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at)
select task_id, no, attempt, {OUTCOME.CANCELLED}, worker, enqueued_at, claimed_at, :now
from step where task_id = :task_id and no = :no and state = {IN_PROGRESS}
