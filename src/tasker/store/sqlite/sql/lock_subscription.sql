-- A subscription, to lock it. :namespace, :name text
select id, namespace, name, patterns, url, include, paused from subscription
where namespace = :namespace and name = :name
