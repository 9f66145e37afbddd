-- Keep a template's graph. :template_id int, :namespace text,
-- :steps text (JSON list of {no, name, handler, requirement, gated, own_handler, own_requirement,
-- own_gated, pending_parents, children: [no, ...], on_error: [no, ...], scope, queue_timeout})
insert into template_step (template_id, no, name, queue_id, own_queue_id, pending_parents, children, on_error, scope,
                           queue_timeout)
select :template_id::int, g.no, g.name, q.id, o.id, g.pending_parents, g.children, g.on_error, g.scope, g.queue_timeout
from json_to_recordset(:steps::text::json)
     as g (no int, name text, handler text, requirement text, gated boolean, own_handler text, own_requirement text,
           own_gated boolean, pending_parents int, children int[], on_error int[], scope int, queue_timeout float8)
join queue q on q.namespace = :namespace and q.handler = g.handler
     and q.requirement = g.requirement and q.gated = g.gated
left join queue o on o.namespace = :namespace and o.handler = g.own_handler
     and o.requirement = g.own_requirement and o.gated = g.own_gated
