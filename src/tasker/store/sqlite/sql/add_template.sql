-- Store a template; no row if another process was faster.
-- :namespace, :name, :version, :digest, :document, :registered_by, :status text, :sinks int,
-- :retention real (seconds), :now real
insert into template (namespace, name, version, digest, document, sinks, retention, registered_by, status, registered_at, paused)
values (:namespace, :name, :version, :digest, :document, :sinks, :retention, :registered_by, :status, :now,
        exists (select 1 from pause where pause.name = :name and pause.kind = 'template' and pause.namespace = :namespace))
on conflict do nothing
returning *
