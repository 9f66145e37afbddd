-- Keep a template's graph. :template_id int, :namespace text,
-- :steps text (JSON list of {no, name, handler, requirement, gated, pending_parents, children: [no, ...], scope, queue_timeout})
insert into template_step (template_id, no, name, queue_id, pending_parents, children, scope, queue_timeout)
select :template_id::int, g.no, g.name, q.id, g.pending_parents, g.children, g.scope, g.queue_timeout
from json_to_recordset(:steps::text::json)
     as g (no int, name text, handler text, requirement text, gated boolean, pending_parents int, children int[],
           scope int, queue_timeout float8)
join queue q on q.namespace = :namespace and q.handler = g.handler
     and q.requirement = g.requirement and q.gated = g.gated
