-- Store the graphs of templates.
-- :graphs text (JSON list of {template_id, namespace, steps: [{no, name, handler, requirement, gated, own_handler,
-- own_requirement, own_gated, pending_parents, children: [no, ...], on_error: [no, ...], scope, queue_timeout,
-- compensated_by}, ...]})
-- `limit` has each step's queues looked up by the index: a join would read all queues for each template.
insert into template_step (template_id, no, name, queue_id, own_queue_id, pending_parents, children, on_error, scope,
                           queue_timeout, compensated_by)
select t.template_id, g.no, g.name, q.id, o.id, g.pending_parents, g.children, g.on_error, g.scope, g.queue_timeout,
       g.compensated_by
from json_to_recordset(:graphs::text::json) as t (template_id int, namespace text, steps json)
cross join json_to_recordset(t.steps)
     as g (no int, name text, handler text, requirement text, gated boolean, own_handler text, own_requirement text,
           own_gated boolean, pending_parents int, children int[], on_error int[], scope int, queue_timeout float8,
           compensated_by int)
cross join lateral (
    select q.id from queue q
    where q.namespace = t.namespace and q.handler = g.handler and q.requirement = g.requirement and q.gated = g.gated
    limit 1
) q
left join lateral (
    select o.id from queue o
    where o.namespace = t.namespace and o.handler = g.own_handler and o.requirement = g.own_requirement
      and o.gated = g.own_gated
    limit 1
) o on true
