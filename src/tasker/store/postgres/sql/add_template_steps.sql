-- Keep a template's graph. :template_id int; one element per step: :nos int[], :names text[],
-- :handlers text[], :requirements text[], :pending_parents int[], :children text[] (array
-- literals); :namespace text
insert into template_step (template_id, no, name, queue_id, pending_parents, children)
select :template_id::int, g.no, g.name, q.id, g.pending_parents, g.children::int[]
from unnest(:nos::int[], :names::text[], :handlers::text[], :requirements::text[],
            :pending_parents::int[], :children::text[])
     as g (no, name, handler, requirement, pending_parents, children)
join queue q on q.namespace = :namespace and q.handler = g.handler
     and q.requirement = g.requirement and not q.gated
