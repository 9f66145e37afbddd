-- Keep a template; no row when another process was first.
-- :namespace, :name, :version, :digest, :document, :registered_by, :status text, :sinks int
insert into template (namespace, name, version, digest, document, sinks, registered_by, status)
values (:namespace, :name, :version, :digest, :document::text::json, :sinks, :registered_by, :status)
on conflict do nothing
returning *
