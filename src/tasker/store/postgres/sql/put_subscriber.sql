-- Store a subscription of code in workers, or record that a worker serves it; no row: a webhook has its name.
-- :namespace, :name, :actor text, :patterns text[]
insert into subscription (namespace, name, patterns, served_at, created_by)
values (:namespace, :name, :patterns, now(), :actor)
on conflict (namespace, name) do update set patterns = excluded.patterns, served_at = excluded.served_at
    where subscription.url is null
returning id
