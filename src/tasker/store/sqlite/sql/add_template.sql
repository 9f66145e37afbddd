-- Keep a template; no row when another process was first.
-- :namespace, :name, :version, :digest, :document, :registered_by, :status text, :sinks int,
-- :retention real (seconds), :now real
insert into template (namespace, name, version, digest, document, sinks, retention, registered_by, status, registered_at)
values (:namespace, :name, :version, :digest, :document, :sinks, :retention, :registered_by, :status, :now)
on conflict do nothing
returning *
