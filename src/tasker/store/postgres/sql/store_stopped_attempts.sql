-- Store the history of the running attempts of locked steps, which stop_steps.sql is about to end.
-- :task_id uuid, :nos int[]
with running as materialized (
    select s.* from {include step_rows_by_number} where s.state = {IN_PROGRESS}
), kept as (
    insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at)
    select task_id, no, attempt, {OUTCOME.CANCELLED}, worker, enqueued_at, claimed_at, clock_timestamp()
    from running
)
select decrement_claim_batches(array_agg(worker), array_agg(claimed_at)) from running
