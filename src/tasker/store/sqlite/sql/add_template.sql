-- Keep a template. :namespace, :name, :version, :digest, :document, :registered_by text, :sinks int, :now real
insert into template (namespace, name, version, digest, document, sinks, registered_by, registered_at)
values (:namespace, :name, :version, :digest, :document, :sinks, :registered_by, :now)
returning id, document, registered_by, registered_at, digest
