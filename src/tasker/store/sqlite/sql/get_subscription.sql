-- A subscription by its name. :namespace, :name text
select id, namespace, name, patterns, url, include, paused from subscription
where namespace = :namespace and name = :name
