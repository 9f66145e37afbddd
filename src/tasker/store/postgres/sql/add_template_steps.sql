-- Keep a template's graph. :template_id int; one element per step: :nos int[], :names text[],
-- :handlers text[], :unmet int[], :children text[] (array literals); :namespace text
insert into template_step (template_id, no, name, queue_id, unmet, children)
select :template_id::int, g.no, g.name, q.id, g.unmet, g.children::int[]
from unnest(:nos::int[], :names::text[], :handlers::text[], :unmet::int[], :children::text[])
     as g (no, name, handler, unmet, children)
join queue q on q.namespace = :namespace and q.handler = g.handler
