-- How many steps the gate {gate} lets through now; null: any number.
least({gate}.concurrency - {include gate_running}, floor({include gate_tokens}))::int
