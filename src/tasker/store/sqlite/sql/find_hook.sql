-- A provider hook, with its secret. :namespace, :name text
select * from hook where namespace = :namespace and name = :name
