-- Add a schedule; no row if the namespace has one of that name. :namespace, :name, :template, :version,
-- :spec, :declared_by text or null, :next_at timestamptz, :actor text
insert into schedule (namespace, name, template, version, spec, declared_by, next_at, look_at, created_by)
values (:namespace, :name, :template, :version, :spec, :declared_by, :next_at::timestamptz, :next_at, :actor)
on conflict do nothing
returning id
