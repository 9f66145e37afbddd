-- Settle, and store the events of the accepted outcomes. See functions/settle_outcomes.sql.
-- :event_outcomes int[] (indexes of outcomes, from 1), :event_templates int[], :event_steps,
-- :event_correlations, :event_names, :event_payloads text[] (JSON), :event_durations float8[]
with settled as materialized (
    {include call_settle_outcomes}
), published as (
    {include publish_events}
)
select kind, task_id, no, attempt, at from settled
