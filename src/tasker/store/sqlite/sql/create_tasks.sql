-- Store tasks whose templates are approved. :now real; :tasks text (JSON list of [id, template_id, context, correlation_id,
-- parent_id, key, digest, created_by, reason, tags, trace, run_at, deadline in seconds, priority, title,
-- attributes, unique_while, if_exists, gates: [[no, outer gate, gate], ...], attached])
insert into task (id, template_id, priority, paused, open_sinks, end_events, created_at, deadline, correlation_id, parent_id, attached,
                  idempotency_key, created_by, reason, tags, trace, title, context)
select json_extract(g.value, '$[0]'), p.id, json_extract(g.value, '$[13]'), p.paused, p.sinks, p.end_events, :now, :now + json_extract(g.value, '$[12]'),
       json_extract(g.value, '$[3]'), json_extract(g.value, '$[4]'), json_extract(g.value, '$[19]'), json_extract(g.value, '$[5]'),
       json_extract(g.value, '$[7]'), json_extract(g.value, '$[8]'), json_extract(g.value, '$[9]'),
       json_extract(g.value, '$[10]'), json_extract(g.value, '$[14]'),
       json_extract(g.value, '$[2]')
from json_each(:tasks) as g
join template p on p.id = json_extract(g.value, '$[1]') and p.status = 'approved'
