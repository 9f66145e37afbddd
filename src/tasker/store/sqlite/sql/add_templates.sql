-- Store templates; no row for one that another process has just stored.
-- :registered_by text, :templates text (JSON list of {namespace, name, version, digest, document: JSON as text,
-- sinks, retention: seconds or null, status, compensation_node, compensates_on: [state, ...], compensation_hold,
-- end_events}), :now real
insert into template (namespace, name, version, digest, document, sinks, retention, registered_by, status, registered_at, paused,
                      compensation_node, compensates_on, compensation_hold, end_events)
select json_extract(t.value, '$.namespace'), json_extract(t.value, '$.name'), json_extract(t.value, '$.version'),
       json_extract(t.value, '$.digest'), json_extract(t.value, '$.document'), json_extract(t.value, '$.sinks'),
       json_extract(t.value, '$.retention'), :registered_by, json_extract(t.value, '$.status'), :now,
       exists (
           select 1 from pause p
           where p.name = json_extract(t.value, '$.name') and p.kind = 'template'
             and p.namespace = json_extract(t.value, '$.namespace')
       ),
       json_extract(t.value, '$.compensation_node'), json_extract(t.value, '$.compensates_on'),
       json_extract(t.value, '$.compensation_hold'), json_extract(t.value, '$.end_events')
from json_each(:templates) as t
where true
on conflict do nothing
returning *
