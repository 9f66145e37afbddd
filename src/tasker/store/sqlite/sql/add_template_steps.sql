-- Keep a template's graph. :template_id int, :namespace text,
-- :steps text (JSON list of [no, name, handler, requirement, pending_parents, [child, ...]])
-- `cross` keeps the order of the join: each step finds its queue by the index, and the list
-- is read once, not once for each queue.
insert into template_step (template_id, no, name, queue_id, pending_parents, children)
select :template_id, json_extract(g.value, '$[0]'), json_extract(g.value, '$[1]'), q.id,
       json_extract(g.value, '$[4]'), json_extract(g.value, '$[5]')
from json_each(:steps) as g
cross join queue q on q.namespace = :namespace and q.handler = json_extract(g.value, '$[2]')
     and q.requirement = json_extract(g.value, '$[3]') and q.gated = 0
