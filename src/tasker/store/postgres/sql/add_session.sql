-- Store a login in a browser. :digest text, :key_prefix text or null, :claims text (JSON) or null, :lifetime float (seconds)
insert into session (digest, key_prefix, claims, expires_at)
values (:digest, :key_prefix, :claims::text::json, now() + :lifetime::float8 * interval '1 second')
returning *
