-- A version of a template. :namespace, :name text
select id from template where namespace = :namespace and name = :name limit 1
