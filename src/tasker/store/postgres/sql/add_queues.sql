-- Make the queues that are missing. :namespace text; :handlers, :requirements text[], pairwise
insert into queue (namespace, handler, requirement)
select distinct :namespace::text, g.handler, g.requirement
from unnest(:handlers::text[], :requirements::text[]) as g (handler, requirement)
left join queue q on q.namespace = :namespace and q.handler = g.handler
     and q.requirement = g.requirement and not q.gated
where q.id is null
order by 2, 3
on conflict (namespace, handler, requirement, gated) do nothing
