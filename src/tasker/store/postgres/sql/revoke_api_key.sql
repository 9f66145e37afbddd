-- Revoke an API key; no row when there is none that is not revoked. :prefix text
update api_key set revoked_at = now()
where prefix = :prefix and revoked_at is null
returning id, name, prefix, scopes, namespaces, roles, groups, created_by, created_at, expires_at, revoked_at, last_used_at
