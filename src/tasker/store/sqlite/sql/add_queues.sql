-- Create the missing queues. :namespace text, :queues text (JSON list of {handler, requirement, gated})
-- Ids increase by five, one for each priority, and are never reused.
insert into queue (id, namespace, handler, requirement, gated, weight)
select 5 * row_number() over (order by g.handler, g.requirement, g.gated)
       + coalesce((select seq from sqlite_sequence where name = 'queue'), 0),
       :namespace, g.handler, g.requirement, g.gated,
       coalesce((select max(o.weight) from queue o where o.namespace = :namespace and o.handler = g.handler), 1)
from (
    select distinct json_extract(value, '$.handler') as handler, json_extract(value, '$.requirement') as requirement,
           json_extract(value, '$.gated') as gated
    from json_each(:queues)
) g
where not exists (
    select 1 from queue q
    where q.namespace = :namespace and q.handler = g.handler
      and q.requirement = g.requirement and q.gated = g.gated
)
