-- Revoke an API key; no row when there is none that is not revoked. :prefix text
update api_key set revoked_at = now()
where prefix = :prefix and revoked_at is null
returning *
