-- Change the fields of a webhook that are not null, and forget the failures of its endpoint.
-- :id int, :url, :secret text, :patterns, :include text[], :paused bool
update subscription
set url = coalesce(:url, url), secret = coalesce(:secret, secret), patterns = coalesce(:patterns, patterns),
    include = coalesce(:include, include), paused = coalesce(:paused, paused), failures = 0, blocked_until = null
where id = :id
