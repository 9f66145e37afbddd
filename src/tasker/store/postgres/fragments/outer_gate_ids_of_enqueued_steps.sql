-- Ids of the outer gates of enqueued steps, and 0 for steps with one limit.
recursive outer_gate (id) as (
    (select outer_gate_id from due where gate_id is not null order by outer_gate_id limit 1)
    union all
    select (
        select d.outer_gate_id from due d
        where d.gate_id is not null and d.outer_gate_id > outer_gate.id
        order by d.outer_gate_id
        limit 1
    )
    from outer_gate where outer_gate.id is not null
)
