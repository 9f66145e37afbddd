-- Ids of the outer gates of enqueued steps, and 0 for steps with one limit.
recursive outer_gate (id) as (
    select min(outer_gate_id) from step where gate_id is not null and state = {ENQUEUED}
    union all
    select (
        select min(s.outer_gate_id) from step s
        where s.gate_id is not null and s.state = {ENQUEUED} and s.outer_gate_id > outer_gate.id
    )
    from outer_gate where outer_gate.id is not null
)
