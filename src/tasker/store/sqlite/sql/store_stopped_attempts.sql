-- Store the history of the running ones of these steps, which stop_steps.sql is about to end.
-- :task_id text, :nos text (JSON list), :now real
insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at)
select task_id, no, attempt, {OUTCOME.CANCELLED}, worker, enqueued_at, claimed_at, :now
from step
where task_id = :task_id and no in (select value from json_each(:nos)) and +state = {IN_PROGRESS}
