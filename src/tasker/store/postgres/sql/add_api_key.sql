-- Store an API key. :prefix, :digest, :name, :created_by text, :scopes, :namespaces, :roles, :groups, :handlers text[],
-- :expires_at timestamptz or null
insert into api_key (prefix, digest, name, scopes, namespaces, roles, groups, handlers, created_by, expires_at)
values (:prefix, :digest, :name, :scopes, :namespaces, :roles, :groups, :handlers, :created_by, :expires_at)
returning *
