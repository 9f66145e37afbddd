-- How many steps a gate lets through now, null for any number, and its tokens and rate. What `delete_ended_gate_claims` has
-- left of its claims is in progress. :gate int, :now real
select min(coalesce(concurrency - (select count(*) from gate_claim c where c.gate_id = gate.id), 1e9), coalesce({include gate_tokens gate=gate}, 1e9)),
       {include gate_tokens gate=gate}, rate
from gate where id = :gate
