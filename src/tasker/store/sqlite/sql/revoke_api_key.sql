-- Revoke an API key; no row if it is unknown or already revoked. :prefix text, :now real
update api_key set revoked_at = :now
where prefix = :prefix and revoked_at is null
returning *
