-- Any version of a template; no row if it has none. :namespace, :name text
select id from template where namespace = :namespace and name = :name limit 1
