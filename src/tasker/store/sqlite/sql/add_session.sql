-- Store a login in a browser. :digest, :key_prefix text, :lifetime real (seconds), :now real
insert into session (digest, key_prefix, created_at, seen_at, expires_at)
values (:digest, :key_prefix, :now, :now, :now + :lifetime)
returning *
