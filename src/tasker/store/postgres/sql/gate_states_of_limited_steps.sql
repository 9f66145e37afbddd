-- For each step, what its gates let through, and how many steps wait before it at each; at most 10,000 are counted.
-- :tasks uuid[], :nos int[]
select s.no, g.key, g.concurrency, g.rate is not null as has_rate, {include gate_running_steps gate=g} as running,
       floor({include gate_tokens gate=g})::int as tokens,
       (
           select count(*)::int from (
               select from due d
               where d.gate_id is not null and d.outer_gate_id = s.outer_gate_id and d.gate_id = s.gate_id and d.queue_id = s.queue_id
                 and ({include claim_order step=d}) < ({include claim_order step=s})
               limit 10000
           ) d
       ) as before
from unnest(:tasks::uuid[], :nos::int[]) as c (task_id, no)
join step s on s.task_id = c.task_id and s.no = c.no
join gate g on g.id in (s.gate_id, s.outer_gate_id)
order by s.no, g.id = s.gate_id
