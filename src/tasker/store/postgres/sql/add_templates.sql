-- Keep templates; no row for one where another process was first.
-- :registered_by text, :templates text (JSON list of {namespace, name, version, digest, document: JSON as text,
-- sinks, retention: seconds or null, status})
insert into template (namespace, name, version, digest, document, sinks, retention, registered_by, status, paused)
select t.namespace, t.name, t.version, t.digest, t.document::json, t.sinks, t.retention, :registered_by, t.status,
       exists (select 1 from pause p where p.name = t.name and p.kind = 'template' and p.namespace = t.namespace)
from json_to_recordset(:templates::text::json)
     as t (namespace text, name text, version text, digest text, document text, sinks int, retention float8, status text)
on conflict do nothing
returning *
