-- An API key and its digest, revoked and expired ones too. :prefix text
select id, name, prefix, scopes, namespaces, roles, groups, created_by, created_at, expires_at, revoked_at, last_used_at, digest
from api_key
where prefix = :prefix
