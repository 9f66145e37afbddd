-- How many steps the gate {gate} lets through now; null: any number.
least(
    case when {gate}.concurrency is not null then {gate}.concurrency - {include gate_running_steps} end,
    floor({include gate_tokens})
)::int
