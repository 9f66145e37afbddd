-- Keep a template's graph. :template_id int, :namespace text,
-- :steps text (JSON list of [no, name, handler, unmet, [child, ...]])
insert into template_step (template_id, no, name, queue_id, unmet, children)
select :template_id, json_extract(g.value, '$[0]'), json_extract(g.value, '$[1]'), q.id,
       json_extract(g.value, '$[3]'), json_extract(g.value, '$[4]')
from json_each(:steps) as g
join queue q on q.namespace = :namespace and q.handler = json_extract(g.value, '$[2]')
