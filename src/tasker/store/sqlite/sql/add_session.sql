-- Store a login in a browser. :digest text, :key_prefix text or null, :claims text (JSON) or null, :lifetime real (seconds), :now real
insert into session (digest, key_prefix, claims, created_at, seen_at, expires_at)
values (:digest, :key_prefix, :claims, :now, :now, :now + :lifetime)
returning *
