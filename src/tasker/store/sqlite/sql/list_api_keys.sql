-- All API keys, newest first.
select id, name, prefix, scopes, namespaces, roles, groups, created_by, created_at, expires_at, revoked_at, last_used_at
from api_key
order by id desc
