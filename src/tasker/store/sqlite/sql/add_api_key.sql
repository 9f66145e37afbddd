-- Store an API key. :prefix, :digest, :name, :created_by text, :scopes, :namespaces, :roles, :groups, :handlers text (JSON lists),
-- :expires_at real or null, :now real
insert into api_key (prefix, digest, name, scopes, namespaces, roles, groups, handlers, created_by, created_at, expires_at)
values (:prefix, :digest, :name, :scopes, :namespaces, :roles, :groups, :handlers, :created_by, :now, :expires_at)
returning *
