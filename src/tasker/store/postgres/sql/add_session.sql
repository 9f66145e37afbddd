-- Store a login in a browser. :digest, :key_prefix text, :lifetime float (seconds)
insert into session (digest, key_prefix, expires_at)
values (:digest, :key_prefix, now() + :lifetime::float8 * interval '1 second')
returning *
