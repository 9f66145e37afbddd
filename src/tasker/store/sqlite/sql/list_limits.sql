-- Gates of a namespace by key, with the steps under them; of waiting steps at most 10,000 are counted.
-- :namespace text, :after text, :limit int, :now real
with {include outer_gate_ids_of_enqueued_steps}, chosen as (
    select * from gate
    where namespace = :namespace and key > :after and task_id is null
    order by key
    limit :limit
)
select g.namespace, g.key, g.declared, {include gate_running_steps gate=g} as running,
       (
           select count(*) from (
               select 1 from outer_gate o
               join step s on s.outer_gate_id = o.id and s.gate_id = g.id and s.gate_id is not null and s.state = {ENQUEUED}
               where s.queue_id > 0 and s.run_at <= :now
               union all
               select 1 from step s
               where s.outer_gate_id = g.id and s.gate_id is not null and s.state = {ENQUEUED} and s.queue_id > 0 and s.run_at <= :now
               limit 10000
           )
       ) as waiting
from chosen g
order by g.key
