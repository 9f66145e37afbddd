-- Gates of a namespace by key, with the steps under them; of waiting steps at most 10,000 are counted.
-- :namespace text, :after text, :limit int
with {include outer_gate_ids_of_enqueued_steps}, chosen as (
    select * from gate
    where namespace = :namespace and key > :after and task_id is null
    order by key
    limit :limit::int
)
select g.namespace, g.key, g.declared::text as declared, {include gate_running_steps gate=g} as running,
       (
           select count(*)::int from (
               select from outer_gate o
               join due d on d.outer_gate_id = o.id and d.gate_id = g.id and d.gate_id is not null
               where d.queue_id > 0 and d.run_at <= now()
               union all
               select from due d
               where d.outer_gate_id = g.id and d.gate_id is not null and d.queue_id > 0 and d.run_at <= now()
               limit 10000
           ) d
       ) as waiting
from chosen g
order by g.key
