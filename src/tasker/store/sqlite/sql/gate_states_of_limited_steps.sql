-- For each step, what its gates let through, and how many steps wait before it at each; at most 10,000 are counted.
-- :tasks text, :nos text (JSON lists), :now real
select s.no, g.key, g.concurrency, g.rate is not null as has_rate, {include gate_running_steps gate=g} as running,
       cast({include gate_tokens gate=g} as integer) as tokens,
       (
           select count(*) from (
               select 1 from step d
               where d.gate_id is not null and d.state = {ENQUEUED}
                 and d.outer_gate_id = s.outer_gate_id and d.gate_id = s.gate_id and d.queue_id = s.queue_id
                 and ({include claim_order step=d}) < ({include claim_order step=s})
               limit 10000
           )
       ) as before
from json_each(:tasks) as t
join step s on s.task_id = t.value and s.no = json_extract(:nos, '$[' || t.key || ']')
join gate g on g.id in (s.gate_id, s.outer_gate_id)
order by s.no, g.id = s.gate_id
