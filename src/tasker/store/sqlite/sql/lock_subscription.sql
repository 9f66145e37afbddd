-- A subscription by its name. :namespace, :name text
select id, url from subscription
where namespace = :namespace and name = :name
