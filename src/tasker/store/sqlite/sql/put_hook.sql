-- Insert or replace a provider hook.
-- :namespace, :name, :scheme, :header, :secret, :target, :sends, :key, :actor text, :id, :condition text or null, :now real
insert into hook (namespace, name, scheme, header, secret, target, sends, key, id, condition, updated_by, updated_at)
values (:namespace, :name, :scheme, :header, :secret, :target, :sends, :key, :id, :condition, :actor, :now)
on conflict (namespace, name) do update
set scheme = excluded.scheme, header = excluded.header, secret = excluded.secret, target = excluded.target,
    sends = excluded.sends, key = excluded.key, id = excluded.id, condition = excluded.condition,
    updated_by = excluded.updated_by, updated_at = excluded.updated_at
returning *
