-- Settle, and store the events of the accepted outcomes. See functions/settle.sql.
-- :event_outcomes int[] (indexes of outcomes, from 1), :event_templates int[], :event_steps,
-- :event_correlations, :event_names, :event_payloads text[] (JSON), :event_durations float8[]
with settled as materialized (
    {include call_settle}
), published as (
    insert into outbox (task_id, no, attempt, template_id, outcome, duration, name, step, correlation_id, payload)
    select (:tasks::uuid[])[e.outcome], (:nos::int[])[e.outcome], (:attempts::int[])[e.outcome], e.template_id,
           (:outcomes::smallint[])[e.outcome], e.duration, e.name, e.step, e.correlation_id, e.payload::json
    from unnest(:event_outcomes::int[], :event_templates::int[], :event_steps::text[], :event_correlations::text[],
                :event_names::text[], :event_payloads::text[], :event_durations::float8[])
         with ordinality as e (outcome, template_id, step, correlation_id, name, payload, duration, rank)
    where e.outcome <> all (array(select no from settled where kind = 0))
    order by e.rank
)
select kind, task_id, no, attempt, at from settled
