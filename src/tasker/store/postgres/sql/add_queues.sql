-- Insert the queues that are missing. :namespace text, :queues text (JSON list of
-- {handler, requirement, gated})
insert into queue (namespace, handler, requirement, gated, weight)
select distinct :namespace::text, g.handler, g.requirement, g.gated,
       coalesce((select max(o.weight) from queue o where o.namespace = :namespace and o.handler = g.handler), 1)
from json_to_recordset(:queues::text::json) as g (handler text, requirement text, gated boolean)
left join queue q on q.namespace = :namespace and q.handler = g.handler
     and q.requirement = g.requirement and q.gated = g.gated
where q.id is null
order by 2, 3, 4
on conflict (namespace, handler, requirement, gated) do nothing
