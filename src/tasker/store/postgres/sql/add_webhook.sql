-- Store a webhook; no row: its name is taken. :namespace, :name, :url, :secret, :actor text, :patterns, :include text[]
insert into subscription (namespace, name, patterns, url, secret, include, created_by)
values (:namespace, :name, :patterns, :url, :secret, :include, :actor)
on conflict do nothing
returning id
