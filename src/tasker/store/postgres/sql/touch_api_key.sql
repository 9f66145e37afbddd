-- Record the use of an API key, at most once a minute. :prefix text
update api_key set last_used_at = now()
where prefix = :prefix and (last_used_at is null or last_used_at < now() - interval '1 minute')
