-- Store a webhook; no row: its name is taken. :namespace, :name, :url, :secret, :actor text,
-- :patterns, :include text (JSON lists), :now real
insert into subscription (namespace, name, patterns, url, secret, include, created_by, created_at)
values (:namespace, :name, :patterns, :url, :secret, :include, :actor, :now)
on conflict do nothing
returning id
