-- Store events of the accepted outcomes of the settlement `settled`.
insert into outbox (task_id, no, attempt, template_id, outcome, duration, name, step, correlation_id, payload)
select g.tasks[e.outcome], g.nos[e.outcome], g.attempts[e.outcome], e.template_id,
       g.outcomes[e.outcome], e.duration, e.name, e.step, e.correlation_id, e.payload::json
from unnest(:event_outcomes::int[], :event_templates::int[], :event_steps::text[], :event_correlations::text[],
            :event_names::text[], :event_payloads::text[], :event_durations::float8[])
     with ordinality as e (outcome, template_id, step, correlation_id, name, payload, duration, rank)
cross join (   -- read once, not for each event
    select :tasks::uuid[] as tasks, :nos::int[] as nos, :attempts::int[] as attempts, :outcomes::smallint[] as outcomes
    offset 0
) g
where e.outcome <> all (array(select no from settled where kind = 0))
order by e.rank
