-- Store templates; no row for one that another process has just stored.
-- :registered_by text, :templates text (JSON list of {namespace, name, version, digest, document: JSON as text,
-- sinks, retention: seconds or null, status, compensation_node, compensates_on: [state, ...], compensation_hold,
-- end_events})
insert into template (namespace, name, version, digest, document, sinks, retention, registered_by, status, paused,
                      compensation_node, compensates_on, compensation_hold, end_events)
select t.namespace, t.name, t.version, t.digest, t.document::json, t.sinks, t.retention, :registered_by, t.status,
       exists (select 1 from pause p where p.name = t.name and p.kind = 'template' and p.namespace = t.namespace),
       t.compensation_node, t.compensates_on, t.compensation_hold, t.end_events
from json_to_recordset(:templates::text::json)
     as t (namespace text, name text, version text, digest text, document text, sinks int, retention float8, status text,
           compensation_node int, compensates_on smallint[], compensation_hold float8, end_events int)
on conflict do nothing
returning *
