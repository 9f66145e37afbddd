-- Keep a template.
-- :namespace, :name, :version, :digest, :document, :registered_by, :status text, :sinks int, :now real
insert into template (namespace, name, version, digest, document, sinks, registered_by, status, registered_at)
values (:namespace, :name, :version, :digest, :document, :sinks, :registered_by, :status, :now)
returning id, document, registered_by, registered_at, digest, status
