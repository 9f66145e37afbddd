-- Add a schedule; no row if the namespace has one of that name. :namespace, :name, :template, :version,
-- :spec, :declared_by text or null, :next_at real, :actor text, :now real
insert into schedule (namespace, name, template, version, spec, declared_by, next_at, look_at, created_by,
                      created_at, updated_at)
values (:namespace, :name, :template, :version, :spec, :declared_by, :next_at, :next_at, :actor, :now, :now)
on conflict do nothing
returning id
