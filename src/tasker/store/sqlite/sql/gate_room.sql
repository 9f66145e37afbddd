-- How many steps a gate lets through now, null for any number, and its tokens and rate. :gate int, :now real
select min(coalesce(concurrency - {include gate_running gate=gate}, 1e9), coalesce({include gate_tokens gate=gate}, 1e9)),
       {include gate_tokens gate=gate}, rate
from gate where id = :gate
