-- Keep a template; no row when another process was first.
-- :namespace, :name, :version, :digest, :document, :registered_by text, :sinks int
insert into template (namespace, name, version, digest, document, sinks, registered_by)
values (:namespace, :name, :version, :digest, :document::text::json, :sinks, :registered_by)
on conflict (namespace, name, version) where replaced_at is null do nothing
returning id, document::text, registered_by, registered_at, digest
