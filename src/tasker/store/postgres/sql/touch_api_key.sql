-- Note that an API key was used, once a minute at most. :prefix text
update api_key set last_used_at = now()
where prefix = :prefix and (last_used_at is null or last_used_at < now() - interval '1 minute')
