-- Store the graphs of templates.
-- :graphs text (JSON list of {template_id, namespace, steps: [{no, name, handler, requirement, gated, own_handler,
-- own_requirement, own_gated, pending_parents, children: [no, ...], on_error: [no, ...], scope, queue_timeout,
-- compensated_by}, ...]})
-- Each graph is taken apart once: its template is not looked for in all of it for every step. `cross` keeps
-- the order of the join: each step finds its queue by the index, and the list is read once.
with graph as materialized (
    select json_extract(value, '$.template_id') as template_id, json_extract(value, '$.namespace') as namespace,
           json_extract(value, '$.steps') as steps
    from json_each(:graphs)
)
insert into template_step (template_id, no, name, queue_id, own_queue_id, pending_parents, children, on_error, scope,
                           queue_timeout, compensated_by)
select t.template_id, json_extract(g.value, '$.no'), json_extract(g.value, '$.name'), q.id, o.id,
       json_extract(g.value, '$.pending_parents'), json_extract(g.value, '$.children'),
       json_extract(g.value, '$.on_error'),
       json_extract(g.value, '$.scope'), json_extract(g.value, '$.queue_timeout'),
       json_extract(g.value, '$.compensated_by')
from graph as t
cross join json_each(t.steps) as g
cross join queue q on q.namespace = t.namespace and q.handler = json_extract(g.value, '$.handler')
     and q.requirement = json_extract(g.value, '$.requirement') and q.gated = json_extract(g.value, '$.gated')
left join queue o on o.namespace = t.namespace and o.handler = json_extract(g.value, '$.own_handler')
     and o.requirement = json_extract(g.value, '$.own_requirement') and o.gated = json_extract(g.value, '$.own_gated')
