-- Keep a template; no row when another process was first.
-- :namespace, :name, :version, :digest, :document, :registered_by, :status text, :sinks int,
-- :retention float8 (seconds)
insert into template (namespace, name, version, digest, document, sinks, retention, registered_by, status, paused)
values (:namespace, :name, :version, :digest, :document::text::json, :sinks, :retention, :registered_by, :status,
        exists (select 1 from pause where pause.name = :name and pause.kind = 'template' and pause.namespace = :namespace))
on conflict do nothing
returning *
